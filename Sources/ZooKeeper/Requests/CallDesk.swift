import Dispatch
import Synchronization

/// The lock around the calls of one client, and the clock that ends those whose deadline has passed.
///
/// It is entered by callers, by the connection's queue and by the library's threads. Nothing is called while the lock
/// is held: waiters are resumed, and the library is entered, after it.
final class CallDesk: Sendable {
    private struct State {
        var queue: CallQueue
        /// The earliest moment for which a check of the deadlines is under way.
        var nextCheck: ContinuousClock.Instant?
    }

    private let state: Mutex<State>
    /// Deadlines hold also while the connection's own queue is held up, by a slow name server for example.
    private let clockQueue = DispatchQueue(label: "zookeeper.deadlines")
    private let watches: WatchTable
    /// Says for an error's text what the client is doing instead of answering.
    private let hint: @Sendable () -> String

    init(queue: CallQueue, watches: WatchTable, hint: @escaping @Sendable () -> String) {
        self.state = Mutex(State(queue: queue))
        self.watches = watches
        self.hint = hint
    }

    /// Changes the calls and resumes whom that concerns.
    func update(_ change: (inout CallQueue) -> CallQueue.Completion?) {
        if let completion = state.withLock({ change(&$0.queue) }) { finish(completion) }
    }

    /// Changes the calls and resumes whom that concerns.
    func updateAll(_ change: (inout CallQueue) -> [CallQueue.Completion]) {
        for completion in state.withLock({ change(&$0.queue) }) { finish(completion) }
    }

    /// Reads from, or changes, the calls in a way that concerns no waiter.
    func read<T: Sendable>(_ body: (inout CallQueue) -> T) -> T { state.withLock { body(&$0.queue) } }

    /// Takes a call and sees to its deadline: in one step, since a check that came before the call would find nothing
    /// and be the last.
    func submit(_ call: Call) { enter(call) { $0.submit(call) } }

    /// Takes a call that is handed to the library at once, and sees to its deadline.
    func begin(_ call: Call) {
        enter(call) { queue in
            queue.begin(call)
            return nil
        }
    }

    private func enter(_ call: Call, _ change: (inout CallQueue) -> CallQueue.Completion?) {
        let (completion, checkIsNeeded) = state.withLock { state -> (CallQueue.Completion?, Bool) in
            let completion = change(&state.queue)
            guard completion == nil, call.waiter != nil, state.nextCheck.map({ call.deadline < $0 }) ?? true else {
                return (completion, false)
            }
            state.nextCheck = call.deadline
            return (nil, true)
        }
        if checkIsNeeded { scheduleCheck(at: call.deadline) }
        if let completion { finish(completion) }
    }

    /// The watch first: who waits may drop its interest as soon as it is resumed.
    private func finish(_ completion: CallQueue.Completion) {
        if let watch = completion.watch { watches.settle(watch.key, isArmed: watch.isArmed) }
        completion.waiter?.resume(with: completion.result)
    }

    private func scheduleCheck(at instant: ContinuousClock.Instant) {
        let delay = max(.zero, instant - .now)
        clockQueue.asyncAfter(deadline: .now() + .milliseconds(Int(min(delay.milliseconds + 1, 86_400_000)))) {
            [self] in
            let now = ContinuousClock.now
            let hint = hint()
            let (completions, next) = state.withLock { state in
                let result = state.queue.expire(now: now, hint: hint)
                // An earlier check than this one may have been asked for meanwhile; it looks after itself.
                if let pending = state.nextCheck, pending > now + .milliseconds(1),
                    result.next.map({ $0 >= pending }) ?? true
                {
                    return (result.completions, ContinuousClock.Instant?.none)
                }
                state.nextCheck = result.next
                return result
            }
            for completion in completions { finish(completion) }
            if let next { scheduleCheck(at: next) }
        }
    }
}
