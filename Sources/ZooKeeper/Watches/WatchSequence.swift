/// The states of one node: the current one first, then one after each change that the client notices.
///
/// Nothing is buffered. The sequence reads an element when it is requested, so the newest state replaces those that
/// were missed. The sequence continues after lost connections and expired sessions: it reads again, and yields an
/// element when something has changed. It ends (`nil`) when the task is cancelled or the client is closed. It throws a
/// ``ZooKeeperError`` that waiting cannot fix, such as ``ZooKeeperError/Code/noAuth``.
///
/// Each iterator has its own watch, which ends when the iterator is released.
public struct WatchSequence<State: Sendable>: AsyncSequence, Sendable {
    let source: WatchSource<State>

    init(source: WatchSource<State>) { self.source = source }

    /// Returns an iterator, which begins to watch at the first call of `next()`.
    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// An iterator for one task.
    public struct Iterator: AsyncIteratorProtocol {
        private let reader: WatchReader<State>

        init(source: WatchSource<State>) { reader = WatchReader(source: source) }

        /// Returns the current state at the first call, and the next state that differs at each further call.
        ///
        /// - Returns: `nil` when the task is cancelled or the client is closed.
        /// - Throws: ``ZooKeeperError`` when the node cannot be read.
        public mutating func next() async throws -> State? { try await reader.next() }
    }
}

@available(*, unavailable)
extension WatchSequence.Iterator: Sendable {}

/// The reads of a watch sequence, and the watches that trigger them.
struct WatchSource<Element: Sendable>: Sendable {
    let table: WatchTable
    /// All watches that a read may set.
    let keys: [WatchKey]
    /// Reads the state and sets a watch.
    let read: @Sendable () async throws -> Element
    /// Whether two states are equal.
    let isSame: @Sendable (Element, Element) -> Bool
}

/// The state of one iterator. Its deinitializer removes the interest from the table.
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

    /// Reads the state, and returns it if it differs from the last one.
    private func readChange() async throws -> Element? {
        // Cleared before the read, because a change during the read must raise the signal again.
        signal.clear()
        do {
            let element = try await source.read()
            if let last, source.isSame(last, element) { return nil }
            last = element
            return element
        } catch {
            try await signal.handle(error)
            return nil
        }
    }
}
