import GatewayProtocol
import ZooKeeper

/// The states of a node: the present one first, then one after each change that is seen, as in ``ZooKeeperClient``.
struct PollingSequence<State: Sendable>: AsyncSequence, Sendable {
    // Written out here and in the iterator, because a bare `Element` inside the iterator can mean the iterator's. The
    // parameter has another name for the same reason.
    typealias Element = State?

    let revision: @Sendable (State?) -> ExtensionCall.Revision?
    /// Reads the state.
    let read: @Sendable () async throws -> State?
    /// Reads the state when it may differ from the given revision.
    let poll: @Sendable (ExtensionCall.Revision?) async throws -> State?

    func makeAsyncIterator() -> Iterator { Iterator(sequence: self) }

    struct Iterator: AsyncIteratorProtocol {
        typealias Element = State?

        let sequence: PollingSequence<State>
        private var last: State??
        private var hasEnded = false

        init(sequence: PollingSequence<State>) { self.sequence = sequence }

        /// Returns the next state.
        ///
        /// - Returns: `nil` when the task is cancelled or the store is closed.
        mutating func next() async throws -> State?? {
            while !hasEnded, !Task.isCancelled {
                do {
                    guard let last else {
                        let state = try await sequence.read()
                        self.last = .some(state)
                        return .some(state)
                    }
                    let known = sequence.revision(last)
                    let state = try await sequence.poll(known)
                    if sequence.revision(state) == known {
                        // The read has usually waited for a long time, but a gateway that answers at once must not keep
                        // this loop busy.
                        try await Task.sleep(for: .milliseconds(20))
                        continue
                    }
                    self.last = .some(state)
                    return .some(state)
                } catch is CancellationError {
                    hasEnded = true
                } catch let error as ZooKeeperError where error.code == .closed {
                    hasEnded = true
                } catch let error as ZooKeeperError where error.code == .deadlineExceeded {
                    // The call has waited for a gateway, and so does the next attempt.
                } catch let error as ZooKeeperError where error.code == .sessionMoved {
                    // The next attempt uses the form that the next session's gateway supports.
                } catch {
                    hasEnded = true
                    throw error
                }
            }
            return nil
        }
    }
}
