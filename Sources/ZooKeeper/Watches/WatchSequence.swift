/// The states of one node: the present one first, then one after each change that is seen.
///
/// Nothing is buffered: an element is read when it is asked for, so the newest state stands for all that were missed.
/// A sequence goes on over lost connections and expired sessions: it reads again, and yields when something has
/// changed. It ends (`nil`) when the task is cancelled or the client is closed. It throws a ``ZooKeeperError`` that
/// waiting cannot cure, such as ``ZooKeeperError/Code/noAuth``.
///
/// Each iterator watches by itself; dropping it ends its watch.
public struct WatchSequence<State: Sendable>: AsyncSequence, Sendable {
    let source: WatchSource<State>

    init(source: WatchSource<State>) { self.source = source }

    /// Begins to watch at the first call of `next()`.
    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// Reads and waits for one task.
    public struct Iterator: AsyncIteratorProtocol {
        private let reader: WatchReader<State>

        init(source: WatchSource<State>) { reader = WatchReader(source: source) }

        /// The present state at the first call, and the next one that differs at each further call.
        ///
        /// - Returns: `nil` when the task is cancelled or the client is closed.
        /// - Throws: ``ZooKeeperError`` when the node cannot be read.
        public mutating func next() async throws -> State? { try await reader.next() }
    }
}

@available(*, unavailable)
extension WatchSequence.Iterator: Sendable {}

/// How a watch sequence reads its node, and what wakes it.
struct WatchSource<Element: Sendable>: Sendable {
    let table: WatchTable
    /// All watches that a read may set.
    let keys: [WatchKey]
    /// Reads the state and sets a watch.
    let read: @Sendable () async throws -> Element
    /// Whether two states are the same one.
    let isSame: @Sendable (Element, Element) -> Bool
}

/// One iterator's place, whose end takes the interest out of the table.
private final class WatchReader<Element: Sendable> {
    private let source: WatchSource<Element>
    private let signal = WatchSignal()
    private var last: Element?
    private var hasBegun = false
    private var hasEnded = false

    init(source: WatchSource<Element>) { self.source = source }

    deinit { source.table.remove(signal, for: source.keys) }

    func next() async throws -> Element? {
        if !hasBegun {
            hasBegun = true
            source.table.add(signal, for: source.keys)
        } else if !hasEnded {
            await signal.wait()
        }
        while !hasEnded, !Task.isCancelled, !signal.hasEnded {
            do {
                if let element = try await readChange() { return element }
            } catch {
                end()
                throw error
            }
            await signal.wait()
        }
        end()
        return nil
    }

    private func end() {
        hasEnded = true
        source.table.remove(signal, for: source.keys)
    }

    /// The state, if it is not the last one.
    private func readChange() async throws -> Element? {
        // Before the read: what changes during it raises the signal again.
        signal.clear()
        do {
            let element = try await source.read()
            if let last, source.isSame(last, element) { return nil }
            last = element
            return element
        } catch is CancellationError {
            return nil
        } catch let error as ZooKeeperError where error.code == .closed {
            signal.end()
            return nil
        } catch let error as ZooKeeperError where error.code == .deadlineExceeded || error.code == .overloaded {
            // Nobody tells when a full queue of calls has room again.
            if error.code == .overloaded { try? await Task.sleep(for: .milliseconds(50)) }
            // No server for now. The signal is raised at the reconnect; raising it here tries again at once, which
            // waits for a connection in its turn.
            signal.raise()
            return nil
        }
    }
}
