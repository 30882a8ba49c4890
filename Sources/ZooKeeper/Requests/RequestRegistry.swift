import Dispatch
import Synchronization

/// The lock around the requests of one client, and the timer that ends requests whose deadline has passed.
///
/// Callers, the connection's queue and the threads of the transport take the lock. Neither a waiter nor the transport
/// is called while the lock is held, only afterwards.
final class RequestRegistry: Sendable {
    private struct State {
        var queue: RequestStateMachine
        /// The earliest time for which a deadline check is scheduled.
        var nextCheck: ContinuousClock.Instant?
    }

    private let state: Mutex<State>
    /// A separate queue, because deadlines must also hold while the connection's own queue is blocked,
    /// for example by a slow name server.
    private let clockQueue = DispatchQueue(label: "zookeeper.deadlines")
    private let watches: WatchTable
    /// Returns a sentence for an error message, about why no response came.
    private let hint: @Sendable () -> String

    init(queue: RequestStateMachine, watches: WatchTable, hint: @escaping @Sendable () -> String) {
        self.state = Mutex(State(queue: queue))
        self.watches = watches
        self.hint = hint
    }

    /// Changes the requests and resumes the waiter of the completed one.
    func update(_ change: (inout RequestStateMachine) -> RequestStateMachine.Completion?) {
        if let completion = state.withLock({ change(&$0.queue) }) { finish(completion) }
    }

    /// Changes the requests and resumes the waiters of the completed ones.
    func updateAll(_ change: (inout RequestStateMachine) -> [RequestStateMachine.Completion]) {
        for completion in state.withLock({ change(&$0.queue) }) { finish(completion) }
    }

    /// Reads the requests, or changes them in a way that completes none.
    func read<T: Sendable>(_ body: (inout RequestStateMachine) -> T) -> T { state.withLock { body(&$0.queue) } }

    /// Adds a request and schedules its deadline check, under one lock. A check that ran before the request was added
    /// would find nothing and would not schedule another.
    func submit(_ pending: PendingRequest) { add(pending) { $0.submit(pending) } }

    /// Adds a request that is passed to the transport at once, and schedules its deadline check.
    func begin(_ pending: PendingRequest) {
        add(pending) { queue in
            queue.begin(pending)
            return nil
        }
    }

    private func add(
        _ pending: PendingRequest, _ change: (inout RequestStateMachine) -> RequestStateMachine.Completion?
    ) {
        let (completion, checkIsNeeded) = state.withLock { state -> (RequestStateMachine.Completion?, Bool) in
            let completion = change(&state.queue)
            guard completion == nil, pending.waiter != nil, state.nextCheck.map({ pending.deadline < $0 }) ?? true
            else {
                return (completion, false)
            }
            state.nextCheck = pending.deadline
            return (nil, true)
        }
        if checkIsNeeded { scheduleCheck(at: pending.deadline) }
        if let completion { finish(completion) }
    }

    /// Settles the watch before it resumes the waiter, because the waiter may remove its interest immediately.
    private func finish(_ completion: RequestStateMachine.Completion) {
        if let watch = completion.watch {
            watches.settle(watch.key, isArmed: watch.isArmed, isOnMissingNode: watch.isOnMissingNode)
        }
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
                // An earlier check may have been scheduled in the meantime, which schedules the following one.
                if let scheduled = state.nextCheck, scheduled > now + .milliseconds(1),
                    result.next.map({ $0 >= scheduled }) ?? true
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
