import Synchronization

/// The states of a session: the current one first, then the newest after each change.
///
/// A new state replaces one that was not read. ``SessionState/expirations`` counts the sessions that began and ended in
/// between. The sequence ends after ``SessionState/Phase/closed``, and when the task is cancelled.
public struct SessionStates: AsyncSequence, Sendable {
    /// The elements are states.
    public typealias Element = SessionState
    /// The sequence never throws.
    public typealias Failure = Never

    let source: SessionStateSource

    /// Returns an iterator that begins with the current state.
    public func makeAsyncIterator() -> Iterator { Iterator(subscription: source.subscribe()) }

    /// An iterator for one task.
    public struct Iterator: AsyncIteratorProtocol {
        private let subscription: SessionStateSource.Subscription

        init(subscription: SessionStateSource.Subscription) { self.subscription = subscription }

        /// Returns the current state at the first call, and the newest state that differs at each further call.
        ///
        /// - Returns: `nil` after the client was closed, and when the task is cancelled.
        public mutating func next() async -> SessionState? { await subscription.next() }
    }
}

@available(*, unavailable)
extension SessionStates.Iterator: Sendable {}

/// Keeps the newest state and resumes the tasks that wait for one. Public for other
/// implementations of ``ZooKeeperStore``.
public final class SessionStateSource: Sendable {
    private struct State {
        var current: SessionState
        var signals: [UInt64: WatchSignal] = [:]
    }
    private let state: Mutex<State>

    /// Creates a source with an initial state.
    public init(_ initial: SessionState) { state = Mutex(State(current: initial)) }

    /// The newest state.
    public var current: SessionState { state.withLock { $0.current } }

    /// The states from now on.
    public var states: SessionStates { SessionStates(source: self) }

    /// Changes the state and resumes the tasks that wait for a change.
    public func update(_ change: @Sendable (inout SessionState) -> Void) {
        let signals = state.withLock { state -> [WatchSignal] in
            let before = state.current
            change(&state.current)
            return before == state.current ? [] : state.signals.values.sorted { $0.number < $1.number }
        }
        for signal in signals { signal.raise() }
    }

    func subscribe() -> Subscription {
        let subscription = Subscription(source: self)
        state.withLock { $0.signals[subscription.signal.number] = subscription.signal }
        return subscription
    }

    /// A subscription of one reader. Its deinitializer unsubscribes the reader.
    final class Subscription {
        let signal = WatchSignal()
        private let source: SessionStateSource
        private var last: SessionState?

        init(source: SessionStateSource) { self.source = source }

        deinit { source.state.withLock { $0.signals[signal.number] = nil } }

        func next() async -> SessionState? {
            while !Task.isCancelled, last?.phase != .closed {
                signal.clear()
                let current = source.current
                if current != last {
                    last = current
                    return current
                }
                await signal.wait()
            }
            return nil
        }
    }
}
