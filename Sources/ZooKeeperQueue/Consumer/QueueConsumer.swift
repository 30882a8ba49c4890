import Logging
import ZooKeeper

/// Takes messages from a queue: an `AsyncSequence` of leased messages.
///
/// ```swift
/// for try await message in QueueConsumer(queue) {
///     try await message.process { try await handle($0.payload) }
/// }
/// ```
///
/// It waits without polling when the queue is empty, and goes on by itself after lost connections and expired sessions,
/// with a new registration. The sequence ends when its task is cancelled or the consumer is closed. It throws only what
/// waiting cannot cure: no permission, a queue that is gone, a client that is closed.
///
/// Several tasks may iterate over one consumer; each message goes to one of them. When the last iterator is dropped,
/// what was taken and not handed out goes back to its place.
///
/// A lease lasts as long as the session of the client. Run a ``QueueRecovery`` somewhere: it gives the messages of
/// failed consumers back to the queue.
public actor QueueConsumer {
    nonisolated let queue: MessageQueue
    nonisolated let configuration: ConsumerConfiguration
    nonisolated let iterators = IteratorCount()

    /// Everything that the consumer knows. It changes by ``handle(_:)`` alone.
    private(set) var state: ConsumerStateMachine

    // Tasks of the consumer's own. Each is waited for by `close()`, and ends when there is nothing for it to do. They
    // begin
    // at once, on the thread that starts them: for a lone message that saves a tenth of the time.
    private var reader: Task<Void, Never>?
    private var committer: Task<Void, Never>?
    private var overseer: Task<Void, Never>?
    private var sessionWatch: Task<Void, Never>?
    /// Takes the last registration out of the tree.
    private var leaving: Task<Void, Never>?
    private var closing: Task<Void, Never>?

    private var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var nextWaiter: UInt64 = 0
    /// Wakes the reader while it waits for something to read.
    private var rescans: AsyncStream<Void>.Continuation?
    /// The close that waits until nothing is held any more.
    private var emptyWaiter: CheckedContinuation<Void, Never>?

    /// Creates a consumer; it registers itself in the tree when it is first asked for a message.
    public init(_ queue: MessageQueue, configuration: ConsumerConfiguration = .init()) {
        self.queue = queue
        self.configuration = configuration
        state = ConsumerStateMachine(queue, configuration, iterators)
    }

    /// Starts with as many places in the buffer as there are handlers.
    func expect(handlers: Int) { handle { $0.expect(handlers: handlers) } }

    nonisolated var now: Duration { queue.store.now }

    // MARK: Events and actions

    /// Changes the state by an event, and then runs the actions that it demands.
    @discardableResult
    func handle<Value>(_ event: (inout ConsumerStateMachine) -> Value) -> Value {
        let result = event(&state)
        for action in state.takeActions() { run(action) }
        return result
    }

    private func run(_ action: ConsumerStateMachine.Action) {
        switch action {
        case .read:
            reader = Task.immediate {
                await read()
                await leaveLine()
                handle { $0.readerEnded(isCancelled: Task.isCancelled) }
            }
        case .commit(let first):
            // Never abandoned: no consumer would hold what it claims.
            let task = Task.immediate { await commit(first) }
            // It may have ended by now.
            if state.isCommitting { committer = task }
        case .oversee: overseeIfNeeded()
        case .rescan: rescans?.yield()
        case .wake:
            let waiting = waiters
            waiters = [:]
            for waiter in waiting.values { waiter.resume() }
        case .resume(let waiter, let result): waiter.resume(with: result)
        case .update(let lease, let state): lease.update(state)
        case .settlingFailed(let lease): lease.settlingFailed()
        case .becameEmpty: becameEmpty()
        case .stopWatchingSession:
            sessionWatch?.cancel()
            sessionWatch = nil
        case .skip(let path, let reason): queue.skipped.skip(path, reason)
        case .handled(let path): queue.skipped.handled(path)
        case .log(let level, let message, let metadata):
            queue.logger.log(level: level, message, metadata: metadata)
        }
    }

    private func commit(_ first: ConsumerCommit) async {
        var next: ConsumerCommit? = first
        while let commit = next {
            await carryOut(commit)
            next = handle { $0.nextCommit(now: now) }
        }
        // What follows waits for transactions that are under way, not for itself.
        if !state.isCommitting { committer = nil }
        await deregisterIfUnused()
    }

    private func overseeIfNeeded() {
        guard overseer == nil, state.needsOversight else { return }
        overseer = Task {
            await oversee()
            overseer = nil
            overseeIfNeeded()
        }
    }

    func watchSession() {
        let states = queue.store.sessionStates
        sessionWatch?.cancel()
        sessionWatch = Task { [weak self] in
            for await _ in states { await self?.sessionChanged() }
        }
    }

    private func sessionChanged() { handle { $0.sessionChanged(queue.store.sessionState) } }

    /// Requests to the reader to look again, from here on.
    func rescanRequests() -> AsyncStream<Void> {
        let (requests, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        rescans = continuation
        return requests
    }

    func needsNoRescans() { rescans = nil }

    // MARK: Handing out

    func next(within limit: Duration?) async throws -> QueueMessage? {
        let request = handle { $0.requested(within: limit, now: now) }
        var isAsking = true
        defer { if isAsking { handle { $0.withdrawn() } } }
        // A time limit: that nothing comes is no event.
        let timer = limit.map { limit in
            Task { [weak self, store = queue.store] in
                try? await store.sleep(for: limit)
                await self?.wakeAll()
            }
        }
        defer { timer?.cancel() }
        while !Task.isCancelled {
            switch handle({ $0.answer(request, now: now) }) {
            case .message(let lease):
                isAsking = false
                return QueueMessage(lease: lease, consumer: self)
            case .failure(let error): throw error
            case .nothing: return nil
            case .wait: await change()
            }
        }
        return nil
    }

    /// Returns when the state has changed.
    private func change() async {
        let id = nextWaiter
        nextWaiter += 1
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume()
                } else {
                    waiters[id] = continuation
                    handle { $0.waits(id, now: now) }
                }
            }
        } onCancel: {
            Task { await self.wake(id) }
        }
    }

    private func wake(_ id: UInt64) {
        handle { $0.cancelled(id) }
        waiters.removeValue(forKey: id)?.resume()
    }

    private func wakeAll() { handle { $0.wake() } }

    // MARK: The end

    /// Stops taking messages, gives back what was not handed out, waits until what was handed out is settled, gives
    /// back what is left after `gracePeriod`, and takes the consumer out of the tree.
    ///
    /// What is given back here counts as no delivery: neither its place nor its delivery count changes.
    ///
    /// Iterations end. It is not affected by cancellation; closing again waits for the same end. When no server
    /// answers, it
    /// returns five seconds after the grace period at the latest. A recovery then gives the messages back, once the
    /// client's session has ended.
    ///
    /// - Parameter gracePeriod: how long handlers may take. Default: 30 seconds.
    public func close(gracePeriod: Duration = .seconds(30)) async {
        let task =
            closing
            ?? Task {
                handle { $0.beginClosing() }
                await withinTime(gracePeriod + configuration.closingTime) { await $0.end(gracePeriod: gracePeriod) }
                for lease in handle({ $0.endClosing() }) { lease.giveUpSettling() }
            }
        closing = task
        await task.value
    }

    private func end(gracePeriod: Duration) async {
        overseer?.cancel()
        await overseer?.value
        await stopTaking()
        await releaseBuffered()
        await untilEmpty(within: gracePeriod)
        await release(Array(state.leases.values))
        await leaving?.value
        await deregister()
    }

    /// Waits for `body` up to the limit. After that, the body's calls end at their own deadlines.
    private func withinTime(_ limit: Duration, _ body: @escaping @Sendable (QueueConsumer) async -> Void) async {
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        let work = Task {
            await body(self)
            end.finish()
        }
        let timer = Task { [store = queue.store] in
            // A timer is needed, because no event says that the servers do not answer.
            try? await store.sleep(for: limit)
            end.finish()
        }
        for await _ in ends {}
        timer.cancel()
        work.cancel()
    }

    private func untilEmpty(within gracePeriod: Duration) async {
        guard !state.leases.isEmpty else { return }
        let timer = Task {
            // A time limit: there is no event to wait for.
            try? await queue.store.sleep(for: gracePeriod)
            becameEmpty()
        }
        await withCheckedContinuation { emptyWaiter = $0 }
        timer.cancel()
        await timer.value
    }

    private func becameEmpty() {
        emptyWaiter?.resume()
        emptyWaiter = nil
    }

    func stopTaking() async {
        reader?.cancel()
        await reader?.value
        // What is read or released again must not be overtaken by what comes after it in the list.
        handle { $0.forgetList() }
        // A transaction that is under way may claim something.
        await committer?.value
    }

    /// Takes the consumer out of the tree, unless it is in use again.
    func deregister() async {
        await committer?.value
        if let registration = state.registrationToLeave { await leave(registration) }
    }

    /// Removes a registration from the tree in a task of its own, which `close()` waits for.
    func leave(_ registration: Registration) async {
        let task = Task.immediate { await remove(registration) }
        leaving = task
        await task.value
        if leaving == task { leaving = nil }
    }
}

// MARK: - The sequence

extension QueueConsumer: AsyncSequence {
    /// Begins to take messages at the first call of `next()`.
    public nonisolated func makeAsyncIterator() -> Iterator { Iterator(place: IteratorPlace(self)) }

    /// Hands out messages to one task.
    public struct Iterator: AsyncIteratorProtocol {
        let place: IteratorPlace

        /// The next message, as soon as there is one.
        ///
        /// - Returns: `nil` when the task is cancelled or the consumer is closed.
        /// - Throws: ``QueueError`` for what waiting cannot cure. The next call tries again.
        public mutating func next() async throws -> QueueMessage? { try await place.consumer.next(within: nil) }

        /// The next message, if one comes within the time.
        ///
        /// - Parameter limit: how long to wait; zero returns as soon as the queue was looked through and had nothing.
        /// - Returns: `nil` when none came, the task is cancelled, or the consumer is closed.
        /// - Throws: as ``next()``.
        public mutating func next(within limit: Duration) async throws -> QueueMessage? {
            try await place.consumer.next(within: Swift.max(.zero, limit))
        }
    }
}

@available(*, unavailable)
extension QueueConsumer.Iterator: Sendable {}

/// Counts an iterator while it lives.
final class IteratorPlace {
    let consumer: QueueConsumer

    init(_ consumer: QueueConsumer) {
        self.consumer = consumer
        consumer.iterators.increment()
    }

    deinit {
        guard consumer.iterators.decrement() else { return }
        let consumer = consumer
        // Not a child of anything, since a deinit cannot wait. A `close()` does the same and waits.
        Task { await consumer.iteratorEnded() }
    }
}
