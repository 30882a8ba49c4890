import Synchronization

/// The states of a session: the present one first, then the newest after each change.
///
/// A state that was not read is replaced by the next; ``SessionState/expirations`` tells of a session that came and went
/// in between. It ends after ``SessionState/Phase/closed``, and when the task is cancelled.
public struct SessionStates: AsyncSequence, Sendable {
    /// The elements are states.
    public typealias Element = SessionState
    /// It never throws.
    public typealias Failure = Never

    let source: SessionStateSource

    /// Begins with the present state.
    public func makeAsyncIterator() -> Iterator { Iterator(subscription: source.subscribe()) }

    /// Waits for one task.
    public struct Iterator: AsyncIteratorProtocol {
        private let subscription: SessionStateSource.Subscription

        init(subscription: SessionStateSource.Subscription) { self.subscription = subscription }

        /// The present state at the first call, and the newest that differs at each further call.
        ///
        /// - Returns: `nil` after the client was closed, and when the task is cancelled.
        public mutating func next() async -> SessionState? { await subscription.next() }
    }
}

@available(*, unavailable)
extension SessionStates.Iterator: Sendable {}

/// Keeps the newest state and wakes those who read it. Open to other implementations of a ZooKeeper.
public final class SessionStateSource: Sendable {
    private struct State {
        var current: SessionState
        var signals: [UInt64: WatchSignal] = [:]
    }
    private let state: Mutex<State>

    /// Starts with the given state.
    public init(_ initial: SessionState) { state = Mutex(State(current: initial)) }

    /// The newest state.
    public var current: SessionState { state.withLock { $0.current } }

    /// The states from now on.
    public var states: SessionStates { SessionStates(source: self) }

    /// Changes the state and wakes whoever waits for one.
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

    /// One reader's place; its end takes the reader out.
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
