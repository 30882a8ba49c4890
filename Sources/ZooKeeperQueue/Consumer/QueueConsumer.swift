import CoreMetrics
import Logging
import ZooKeeper

/// Receives messages from a queue: an `AsyncSequence` of leased messages.
///
/// ```swift
/// for try await message in QueueConsumer(queue) {
///     try await message.process { try await handle($0.payload) }
/// }
/// ```
///
/// The consumer waits without polling when the queue is empty. After a lost connection or an expired session
/// it continues automatically, with a new registration if necessary. The sequence ends when its task is
/// cancelled or the consumer is closed. It throws only errors that retrying cannot fix: a missing
/// permission, a deleted queue, a closed client.
///
/// Several tasks may iterate over one consumer. Each message goes to one of them. When the last iterator is dropped,
/// claimed messages that were not handed out are returned to their old positions.
///
/// A lease lasts as long as the client's session, if this process runs Swift tasks in each
/// ``QueueAttributes/leaseTimeout``. Run a ``QueueRecovery`` in at least one process, because it requeues the messages of
/// failed consumers.
public actor QueueConsumer {
    nonisolated let queue: MessageQueue
    nonisolated let configuration: QueueConsumer.Configuration
    nonisolated let iterators = IteratorCount()

    /// The consumer's whole state. Only ``handle(_:)`` changes it.
    private(set) var state: ConsumerStateMachine

    // The consumer's tasks. `close()` waits for each of them, and each ends when it has nothing to do. They begin at
    // once, on the thread that starts them, which saves a tenth of the time for a lone message.
    private var reader: Task<Void, Never>?
    private var committer: Task<Void, Never>?
    private var overseer: Task<Void, Never>?
    private var renewer: Task<Void, Never>?
    private var watches: [Task<Void, Never>] = []
    /// Removes the last registration from the tree.
    private var leaving: Task<Void, Never>?
    private var closing: Task<Void, Never>?

    private var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var nextWaiter: UInt64 = 0
    /// Wakes the reader while it waits for messages to read.
    private var rescans: AsyncStream<Void>.Continuation?
    /// The `close()` that waits until the consumer holds no more messages.
    private var emptyWaiter: CheckedContinuation<Void, Never>?

    /// Creates a consumer. It registers itself in the tree at the first request for a message.
    public init(_ queue: MessageQueue, configuration: QueueConsumer.Configuration = .init()) {
        self.queue = queue
        self.configuration = configuration
        state = ConsumerStateMachine(queue, configuration, iterators)
    }

    /// Starts with one buffer slot for each handler.
    func expect(handlers: Int) { handle { $0.expect(handlers: handlers) } }

    nonisolated var now: Duration { queue.store.now }

    // MARK: Events and actions

    /// Applies an event to the state, and then runs the resulting actions.
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
                await leaveWaitQueue()
                handle { $0.readerEnded(isCancelled: Task.isCancelled) }
            }
        case .commit(let first):
            // Never abandoned, because no consumer would hold the claimed messages.
            let task = Task.immediate { await commit(first) }
            // The task may have ended by now.
            if state.isCommitting { committer = task }
        case .oversee: overseeIfNeeded()
        // The task that ends starts the next one.
        case .restartOversight: overseer?.cancel()
        case .renew: renewIfNeeded()
        // The task that ends starts the next one.
        case .restartRenewal: if let renewer { renewer.cancel() } else { renewIfNeeded() }
        case .rescan: rescans?.yield()
        case .wake:
            let waiting = waiters
            waiters = [:]
            for waiter in waiting.values { waiter.resume() }
        case .resume(let waiter, let result): waiter.resume(with: result)
        case .update(let lease, let state): lease.update(state)
        case .settlingFailed(let lease): lease.settlingFailed()
        case .becameEmpty: becameEmpty()
        case .stopWatching: stopWatching()
        case .count(let end): queue.metrics.count(end)
        case .countRenewal: queue.metrics.leaseRenewals.increment()
        // An unstructured task, because its caller goes on. `close()` waits for its settlement.
        case .expire(let lease): Task { await expire(lease) }
        case .skip(let path, let reason): queue.skipped.skip(path, reason)
        case .handled(let path): queue.skipped.handled(path)
        case .log(let level, let message, let metadata):
            queue.logger.log(level: level, message, metadata: metadata)
        }
    }

    private func commit(_ first: ConsumerTransaction) async {
        var next: ConsumerTransaction? = first
        while let commit = next {
            await carryOut(commit)
            next = handle { $0.nextCommit(now: now) }
        }
        // The next call waits for transactions in progress, and must not wait for this task itself.
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

    private func renewIfNeeded() {
        guard renewer == nil, state.nextRenewal != nil else { return }
        let store = queue.store
        // A weak reference, because a consumer that is dropped must end at once.
        renewer = Task { [weak self] in
            while let pause = await self?.renewLeases() {
                // A timer is needed, because the absence of transactions is no event.
                guard (try? await store.sleep(for: pause)) != nil else { break }
            }
            await self?.renewerEnded()
        }
    }

    private func renewerEnded() {
        renewer = nil
        renewIfNeeded()
    }

    /// Watches what a registered consumer depends on: its session, and the epoch, which changes when the queue is
    /// paused or resumed.
    func startWatching() {
        let (store, path, states) = (queue.store, queue.tree.epoch, queue.store.sessionStates)
        stopWatching()
        watches = [
            Task { [weak self] in for await _ in states { await self?.sessionChanged() } },
            Task { [weak self] in
                while !Task.isCancelled {
                    do {
                        for try await node in store.dataUpdates(of: path) { await self?.epochChanged(node) }
                        return
                    } catch let error as ZooKeeperError where error.code == .closed {
                        return
                    } catch {
                        // The consumer could miss the end of a pause, so it reads the epoch itself, and watches again.
                        if await self?.epochWatchFailed() == nil { return }
                        guard (try? await store.sleep(for: .seconds(1))) != nil else { return }
                    }
                }
            },
        ]
    }

    private func stopWatching() {
        for watch in watches { watch.cancel() }
        watches = []
    }

    private func epochWatchFailed() { handle { $0.epochIsUnknown() } }

    private func sessionChanged() { handle { $0.sessionChanged(queue.store.sessionState) } }

    /// Returns the requests to scan again that the reader receives from now on.
    func rescanRequests() -> AsyncStream<Void> {
        let (requests, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        rescans = continuation
        return requests
    }

    func needsNoRescans() { rescans = nil }

    // MARK: Handing out messages

    func next(within limit: Duration?) async throws -> QueueMessage? {
        let request = handle { $0.requested(within: limit, now: now) }
        var isPending = true
        defer { if isPending { handle { $0.withdrawn() } } }
        // A timer is needed, because the absence of messages is no event.
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
                isPending = false
                queue.metrics.received.increment()
                if lease.name.redeliveries > 0 { queue.metrics.redelivered.increment() }
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

    // MARK: Closing

    /// Closes the consumer.
    ///
    /// Stops claiming messages, returns messages that were not handed out, and waits until the others are settled.
    /// After `gracePeriod` it returns the remaining ones, and removes the consumer from the tree. Messages that are
    /// returned keep their position and their delivery count.
    ///
    /// Iterations end. Cancellation has no effect, and a second call waits for the same completion. When no server
    /// responds, the method returns at most five seconds after the grace period. A recovery then requeues the messages,
    /// once the client's session has ended.
    ///
    /// - Parameter gracePeriod: how long handlers may take. Default: 30 seconds.
    public func close(gracePeriod: Duration = .seconds(30)) async {
        let task =
            closing
            ?? Task {
                handle { $0.beginClosing() }
                await withinTime(gracePeriod + configuration.closingTime) { await $0.end(gracePeriod: gracePeriod) }
                for lease in handle({ $0.endClosing() }) { lease.abandonSettlement() }
            }
        closing = task
        await task.value
    }

    private func end(gracePeriod: Duration) async {
        overseer?.cancel()
        await overseer?.value
        await stopClaiming()
        await releaseBuffered()
        await untilEmpty(within: gracePeriod)
        await release(Array(state.leases.values))
        renewer?.cancel()
        await renewer?.value
        await leaving?.value
        await deregister()
    }

    /// Waits for `body`, up to the limit. After that, the calls in `body` end at their own deadlines.
    private func withinTime(_ limit: Duration, _ body: @escaping @Sendable (QueueConsumer) async -> Void) async {
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        let work = Task {
            await body(self)
            end.finish()
        }
        let timer = Task { [store = queue.store] in
            // A timer is needed, because no event tells that the servers do not respond.
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
            // A timer is needed, because there is no event to wait for.
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

    func stopClaiming() async {
        reader?.cancel()
        await reader?.value
        // Messages that are read or requeued now must not be overtaken by later ones in the list.
        handle { $0.forgetList() }
        // A transaction in progress may claim messages.
        await committer?.value
    }

    /// Removes the consumer from the tree, unless it is in use again.
    func deregister() async {
        await committer?.value
        if let registration = state.registrationToLeave { await leave(registration) }
    }

    /// Removes a registration from the tree in a separate task, which `close()` waits for.
    func leave(_ registration: Registration) async {
        let task = Task.immediate { await remove(registration) }
        leaving = task
        await task.value
        if leaving == task { leaving = nil }
    }
}

// MARK: - The sequence

extension QueueConsumer: AsyncSequence {
    /// Returns an iterator. The consumer claims messages from the first call of `next()` on.
    public nonisolated func makeAsyncIterator() -> Iterator { Iterator(reference: IteratorReference(self)) }

    /// Iterates over the messages of a consumer, for one task.
    public struct Iterator: AsyncIteratorProtocol {
        let reference: IteratorReference

        /// Returns the next message, as soon as there is one.
        ///
        /// - Returns: `nil` when the task is cancelled or the consumer is closed.
        /// - Throws: ``QueueError`` for errors that retrying cannot fix. The next call tries again.
        public mutating func next() async throws -> QueueMessage? { try await reference.consumer.next(within: nil) }

        /// Returns the next message, if there is one in time.
        ///
        /// - Parameter limit: how long to wait. Zero returns as soon as a scan of the queue has found no message.
        /// - Returns: `nil` when there was no message in time, the task is cancelled, or the consumer is closed.
        /// - Throws: the same errors as ``next()``.
        public mutating func next(within limit: Duration) async throws -> QueueMessage? {
            try await reference.consumer.next(within: Swift.max(.zero, limit))
        }
    }
}

@available(*, unavailable)
extension QueueConsumer.Iterator: Sendable {}

/// Counts an iterator as long as it lives.
final class IteratorReference {
    let consumer: QueueConsumer

    init(_ consumer: QueueConsumer) {
        self.consumer = consumer
        consumer.iterators.increment()
    }

    deinit {
        guard consumer.iterators.decrement() else { return }
        let consumer = consumer
        // An unstructured task, because a deinitializer cannot wait. `close()` does the same work and waits for it.
        Task { await consumer.iteratorEnded() }
    }
}
