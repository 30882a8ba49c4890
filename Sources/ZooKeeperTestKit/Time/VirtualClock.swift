import HeapModule
import Synchronization

/// A clock that stands still until a test advances it. A test of an hour takes milliseconds.
public final class VirtualClock: Clock, Sendable {
    /// A moment on the clock.
    public struct Instant: InstantProtocol {
        /// The time since the clock's start.
        public let offset: Duration

        /// Returns the moment after the duration.
        public func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        /// Returns the time from this moment to another.
        public func duration(to other: Instant) -> Duration { other.offset - offset }
        /// Returns whether one moment is before the other.
        public static func < (a: Instant, b: Instant) -> Bool { a.offset < b.offset }
    }

    private struct Timer: Comparable {
        let time: Duration
        /// Timers of the same moment run in the order in which they were scheduled.
        let number: UInt64
        let action: @Sendable () -> Void
        static func < (a: Timer, b: Timer) -> Bool { (a.time, a.number) < (b.time, b.number) }
        static func == (a: Timer, b: Timer) -> Bool { a.number == b.number }
    }
    private struct State {
        var now = Duration.zero
        var timers: Heap<Timer> = []
        var cancelled: Set<UInt64> = []
        var next: UInt64 = 0
    }
    private let state = Mutex(State())

    /// Creates a clock at its start.
    public init() {}

    /// The current moment of the clock.
    public var now: Instant { Instant(offset: state.withLock { $0.now }) }
    /// One nanosecond. The clock is exact.
    public var minimumResolution: Duration { .nanoseconds(1) }

    /// Advances the clock, and runs every action that is due, in order.
    ///
    /// After each action, the method yields to other tasks a limited number of times. Start the work that this call
    /// must finish before you call it.
    public func advance(by duration: Duration) async {
        let end = state.withLock { $0.now } + duration
        await Self.yieldToTasks()
        while runNext(until: end) { await Self.yieldToTasks() }
        state.withLock { $0.now = max($0.now, end) }
    }

    private static func yieldToTasks() async { for _ in 0..<20 { await Task.yield() } }

    /// Waits until the clock has been advanced to the deadline.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    public func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let sleeper = Sleeper()
        let timer = schedule(at: deadline.offset) { sleeper.wake() }
        await withTaskCancellationHandler {
            await sleeper.wait()
        } onCancel: {
            cancel(timer)
            sleeper.wake()
        }
        try Task.checkCancellation()
    }

    /// One sleeping task.
    private final class Sleeper: Sendable {
        private let state = Mutex<(isAwake: Bool, waiter: CheckedContinuation<Void, Never>?)>((false, nil))

        func wait() async {
            await withCheckedContinuation { continuation in
                let isAwake = state.withLock { state in
                    if !state.isAwake { state.waiter = continuation }
                    return state.isAwake
                }
                if isAwake { continuation.resume() }
            }
        }

        func wake() {
            let waiter = state.withLock { state in
                state.isAwake = true
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }

    // MARK: Timers

    /// Calls `action` when the clock reaches the time.
    package func schedule(at time: Duration, _ action: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            defer { state.next += 1 }
            state.timers.insert(Timer(time: max(time, state.now), number: state.next, action: action))
            return state.next
        }
    }

    /// Cancels a timer.
    package func cancel(_ timer: UInt64) { state.withLock { _ = $0.cancelled.insert(timer) } }

    /// Advances the clock to the next moment at which an action is due, and runs one action.
    ///
    /// - Returns: Whether there was an action.
    package func runNext(until end: Duration? = nil) -> Bool {
        let timer = state.withLock { state -> Timer? in
            while let timer = state.timers.min {
                if let end, timer.time > end { return nil }
                state.timers.removeMin()
                if state.cancelled.remove(timer.number) != nil { continue }
                state.now = max(state.now, timer.time)
                return timer
            }
            state.cancelled = []
            return nil
        }
        timer?.action()
        return timer != nil
    }
}
