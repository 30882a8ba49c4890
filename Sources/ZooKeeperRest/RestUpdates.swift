import GatewayExtensions
import ZooKeeper

/// The states of a node: the present one first, then one after each change that is seen, as ``ZooKeeperClient`` has them.
struct RestUpdates<State: Sendable>: AsyncSequence, Sendable {
    // Written out, here and in the iterator: the parameter has another name, because a bare `Element` inside the iterator can mean
    // the iterator's own.
    typealias Element = State?

    let mark: @Sendable (State?) -> ExtensionCall.Mark?
    /// Reads the state.
    let read: @Sendable () async throws -> State?
    /// Reads it when it may be another than the one of the mark.
    let change: @Sendable (ExtensionCall.Mark?) async throws -> State?

    func makeAsyncIterator() -> Iterator { Iterator(updates: self) }

    struct Iterator: AsyncIteratorProtocol {
        typealias Element = State?

        let updates: RestUpdates<State>
        private var last: State??
        private var hasEnded = false

        init(updates: RestUpdates<State>) { self.updates = updates }

        /// - Returns: `nil` when the task is cancelled, or the store is closed.
        mutating func next() async throws -> State?? {
            while !hasEnded, !Task.isCancelled {
                do {
                    guard let last else {
                        let state = try await updates.read()
                        self.last = .some(state)
                        return .some(state)
                    }
                    let seen = updates.mark(last)
                    let state = try await updates.change(seen)
                    if updates.mark(state) == seen {
                        // As a rule it has waited long; one that answers at once shall not keep us busy.
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
                    // It has waited for a gateway; the next attempt does so too.
                } catch let error as ZooKeeperError where error.code == .sessionMoved {
                    // The next one is asked in its own way.
                } catch {
                    hasEnded = true
                    throw error
                }
            }
            return nil
        }
    }
}
