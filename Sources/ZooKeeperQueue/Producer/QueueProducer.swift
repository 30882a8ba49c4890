import CoreMetrics
import Logging
import ZooKeeper

/// Stores messages in a queue, each exactly once, in the order of the calls.
///
/// A producer survives lost connections, expired sessions and server restarts. When the reply to a batch is lost, the
/// producer sends the batch again in a form that cannot be stored twice (see <doc:HowItWorks>). Messages that arrive
/// during a write go out in the next one (group commit). When many have arrived, the next batch goes out at once, and
/// up to four batches are in flight. A lone message is sent without delay.
///
/// Close a producer with ``close()``, which removes its node from the tree. A producer that is dropped without closing
/// it leaves a small node behind, which a recovery removes later.
public actor QueueProducer {
    private typealias Waiter = CheckedContinuation<[SendReceipt], any Error>
    private typealias StateMachine = ProducerStateMachine<Waiter>

    nonisolated let queue: MessageQueue
    private nonisolated let encoder: MessageEncoder
    private let sendTimeout: Duration

    /// The producer's whole state. Only ``handle(_:)`` changes it.
    private var state: StateMachine
    /// Whether the store is known to have transactions, which groups need.
    private var hasTransactions = false
    /// Ends the sends whose deadlines have passed. `close()` waits for it.
    private var timer: Task<Void, Never>?
    /// The callers of `close()`, until no send waits or is in flight.
    private var idleWaiters: [CheckedContinuation<Void, Never>] = []

    /// Creates a producer. Sends nothing to the ensemble before the first message.
    ///
    public init(_ queue: MessageQueue, configuration: Configuration = .init()) {
        self.queue = queue
        sendTimeout = configuration.sendTimeout
        encoder = MessageEncoder(queue)
        state = ProducerStateMachine(queue, configuration)
    }

    /// The longest payload, in bytes, of a message in this queue. Headers reduce it.
    public nonisolated var maximumPayloadSize: Int { encoder.maximumPayloadSize }

    deinit { timer?.cancel() }

    // MARK: Events and actions

    /// Applies an event to the state, and then runs the resulting actions.
    @discardableResult
    private func handle<Value>(
        _ event: (inout StateMachine) throws -> Value
    ) rethrows -> Value {
        let result = try event(&state)
        while let action = state.nextAction() { run(action) }
        if queue.metrics.isEnabled { queue.metrics.waitingSends.record(state.pending.messages) }
        return result
    }

    private func run(_ action: StateMachine.Action) {
        switch action {
        // Batches begin on this thread, because they must be sent in the order of their versions. Besides, a lone
        // message wakes no other thread.
        case .send(let plan):
            Task.immediate {
                let start = now
                var plan = plan
                let reply = await send(&plan)
                if case .success = reply, queue.metrics.isEnabled {
                    queue.metrics.batchSize.record(plan.batch.entries.count)
                }
                handle { $0.answered(plan, reply, sentAt: start, now: now) }
            }
        case .maintain: Task.immediate { await maintain() }
        case .resume(let waiter, let result): waiter.resume(with: result)
        case .wake(let time): wake(at: time)
        case .becameIdle:
            let waiters = idleWaiters
            idleWaiters = []
            for waiter in waiters { waiter.resume() }
        case .log(let level, let message, let metadata):
            queue.logger.log(level: level, message, metadata: metadata)
        }
    }

    private nonisolated var now: Duration { queue.store.now }

    private func send(_ plan: inout BatchTransaction) async -> Result<[OperationResult], any Error> {
        do {
            if plan.needsGroupStates { plan.use(try await groupStates(of: plan)) }
            return .success(try await queue.store.multi(plan.operations))
        } catch {
            return .failure(error)
        }
    }

    private func groupStates(of plan: BatchTransaction) async throws -> [GroupKey: GroupState] {
        do {
            return try await queue.groups.states(of: plan.groups)
        } catch let error as ZooKeeperError where error.outcome == .unknown {
            // Only a read is without a reply. The batch was not sent.
            throw ZooKeeperError(code: error.code, message: error.message, path: error.path, outcome: .notApplied)
        }
    }

    private func wake(at time: Duration) {
        timer?.cancel()
        let store = queue.store
        // A weak reference, because a producer that is dropped must end at once, together with its timer.
        timer = Task { [weak self] in
            guard (try? await store.sleep(for: max(.zero, time - store.now))) != nil else { return }
            await self?.deadlinePassed()
        }
    }

    private func deadlinePassed() {
        // Another timer has replaced this one.
        if Task.isCancelled { return }
        timer = nil
        handle { $0.deadlinePassed(now: now) }
    }

    // MARK: Sending

    /// Stores a message.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - timeout: how long the call may take. Default: the producer's ``Configuration/sendTimeout``.
    /// - Returns: a receipt with the message's name, once the message is stored on a majority of the ensemble.
    /// - Throws: ``QueueError``. ``QueueError/Code/outcomeUnknown`` means that the message may or may not be stored,
    ///   because the timeout passed or the task was cancelled while the message was in flight. The message stays in
    ///   flight and is stored at most once: ``resume(_:timeout:)`` with ``QueueError/unresolvedSend`` waits for its
    ///   outcome. If the error has no ``QueueError/unresolvedSend``, the outcome can no longer be determined.
    ///   After any other error the message is not stored. Throws `CancellationError` when the task was cancelled before
    ///   the message was sent.
    @discardableResult
    public func send(_ message: OutgoingMessage, timeout: Duration? = nil) async throws -> SendReceipt {
        let receipts = try await send(contentsOf: [message], timeout: timeout)
        return receipts.first ?? SendReceipt(nodeName: nil)
    }

    /// Stores bytes.
    ///
    /// - Parameters:
    ///   - payload: the bytes, at most ``maximumPayloadSize``.
    ///   - priority: 0…999; a lower number is delivered first.
    ///   - headers: the headers that travel with the bytes.
    ///   - timeout: how long the call may take. Default: the producer's ``Configuration/sendTimeout``.
    /// - Throws: the same errors as ``send(_:timeout:)-(OutgoingMessage,_)``.
    @discardableResult
    public func send(
        _ payload: [UInt8], priority: Int = 100, headers: [String: String] = [:], timeout: Duration? = nil
    ) async throws -> SendReceipt {
        try await send(OutgoingMessage(payload, priority: priority, headers: headers), timeout: timeout)
    }

    /// Stores a text as UTF-8.
    ///
    /// - Throws: the same errors as ``send(_:timeout:)-(OutgoingMessage,_)``.
    @discardableResult
    public func send(
        _ text: String, priority: Int = 100, headers: [String: String] = [:], timeout: Duration? = nil
    ) async throws -> SendReceipt {
        try await send(OutgoingMessage(text, priority: priority, headers: headers), timeout: timeout)
    }

    /// Stores several messages in their order. They may become ready in several transactions, the first messages first.
    ///
    /// Once the first message is in flight, the send can no longer be withdrawn. If the timeout passes or the task is
    /// cancelled after that, the remaining messages are stored too, and ``resume(_:timeout:)`` waits for them.
    ///
    /// - Returns: a receipt for each message, in their order, once all messages are stored.
    /// - Throws: the same errors as ``send(_:timeout:)-(OutgoingMessage,_)``. When ZooKeeper refuses the messages for a
    ///   lasting reason, such as ``QueueError/Code/permissionDenied``, the first messages may have been stored.
    @discardableResult
    public func send(contentsOf messages: [OutgoingMessage], timeout: Duration? = nil) async throws -> [SendReceipt] {
        guard let tracing = queue.tracing, !messages.isEmpty else { return try await measured(messages, timeout) }
        return try await tracing.send(messages) { try await measured($0, timeout) }
    }

    private func measured(_ messages: [OutgoingMessage], _ timeout: Duration?) async throws -> [SendReceipt] {
        let metrics = queue.metrics
        guard metrics.isEnabled else { return try await store(messages, timeout) }
        let start = ContinuousClock.now
        do {
            let receipts = try await store(messages, timeout)
            metrics.sendDuration.record(start.duration(to: .now))
            metrics.sent.increment(by: receipts.count { !$0.isDuplicate })
            return receipts
        } catch {
            metrics.countFailure(of: messages.count, error)
            throw error
        }
    }

    private func store(_ messages: [OutgoingMessage], _ timeout: Duration?) async throws -> [SendReceipt] {
        try Task.checkCancellation()
        let messages = try messages.map { try encoder.encode($0) }
        if !hasTransactions, messages.contains(where: { $0.group != nil }) { try await requireTransactions() }
        try handle { try $0.accept(messages.count) }
        if messages.isEmpty { return [] }
        let (now, timeout) = (now, timeout ?? sendTimeout)
        return try await waiting { waiter in
            handle { $0.send(messages, deadline: now + timeout, waiter: waiter, now: now) }
        }
    }

    /// Throws for a store that applies the operations of a transaction one by one, because a group needs them together.
    private func requireTransactions() async throws {
        do {
            guard try await queue.store.capabilities.contains(.transactions) else {
                throw QueueError.storeHasNoTransactions
            }
            hasTransactions = true
        } catch let error as ZooKeeperError {
            throw QueueError(
                .timedOut, "Not sent: it could not be determined whether the store has transactions. Try again.",
                cause: error)
        }
    }

    /// Waits again for a send that threw ``QueueError/Code/outcomeUnknown``.
    ///
    /// - Parameters:
    ///   - send: the error's ``QueueError/unresolvedSend``.
    ///   - timeout: how long the call may take. Default: the producer's ``Configuration/sendTimeout``.
    /// - Returns: the receipts, once the messages are stored. They are stored once, however
    ///   often this method is called.
    /// - Throws: the same errors as ``send(_:timeout:)-(OutgoingMessage,_)``. Throws
    ///   ``QueueError/Code/notFound`` for a send of another producer, and for a send whose result was fetched
    ///   already or was discarded after a thousand other results. Throws `CancellationError` when the task was
    ///   cancelled before the call, which then changes nothing.
    @discardableResult
    public func resume(_ send: UnresolvedSend, timeout: Duration? = nil) async throws -> [SendReceipt] {
        try Task.checkCancellation()
        let (now, timeout) = (now, timeout ?? sendTimeout)
        return try await waiting { waiter in
            handle { $0.waitAgain(for: send, deadline: now + timeout, waiter: waiter, now: now) }
            return send
        }
    }

    /// Waits for the send that `register` registers, until it has a result, its deadline
    /// passes, or the task is cancelled.
    private func waiting(
        _ register: (Waiter) -> UnresolvedSend
    ) async throws -> [SendReceipt] {
        // The cancellation handler may run at any time, even before the send has a number.
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter in
                let id = register(waiter)
                if cancellation.arm(id) { cancel(id) }
            }
        } onCancel: {
            if let id = cancellation.fire() { Task { await self.cancel(id) } }
        }
    }

    private func cancel(_ id: UnresolvedSend) { handle { $0.cancelled(id) } }

    /// Sends the waiting messages, removes the producer's node from the tree, and refuses further messages.
    ///
    /// Messages that cannot be stored by their deadlines fail as usual. When no server responds, the method gives up
    /// the removal after five seconds, and a recovery removes the node later. A second call waits for the same
    /// completion.
    public func close() async {
        if handle({ $0.close() }) { await withCheckedContinuation { idleWaiters.append($0) } }
        while let timer {
            self.timer = nil
            timer.cancel()
            await timer.value
        }
        guard let name = handle({ $0.leave() }) else { return }
        // Until a recovery removes it, a node that stays counts as a producer that needs a share of the queue's
        // capacity. Runs in a separate task, which is not cancelled.
        _ = await Task { await queue.store.deleteIfPossible(queue.tree.producer(name)) }.value
    }

    // MARK: Maintenance

    /// Carries out the maintenance steps that later batches must wait for, one after the other.
    private func maintain() async {
        while let step = handle({ $0.nextStep(now: now) }) {
            do {
                try await carryOut(step)
            } catch {
                handle { $0.stepFailed(step, error) }
            }
        }
    }

    private func carryOut(_ step: ProducerStep) async throws {
        let store = queue.store
        switch step {
        case .prepare:
            try await queue.prepare()
            handle { $0.prepared() }
        case .readEpoch: try await readEpoch()
        case .readBuckets:
            let buckets = try await queue.folders.deduplicationBuckets()
            handle { $0.bucketsRead(buckets) }
        case .createNode(let path):
            do {
                _ = try await store.create(path, data: [], mode: .persistent)
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // The reply to an earlier attempt was lost. No other client knows this name.
            }
            handle { $0.nodeCreated() }
        case .deleteNode(let path): try await store.delete(path, version: nil)
        case .resolve(let plan):
            var plan = plan
            let reply = await send(&plan)
            handle { $0.resolved(plan, reply) }
        case .inspectNode(let path):
            // The session may have moved to a server that lags behind the one that refused the batch.
            try await store.sync(path)
            let version = try await store.exists(path)?.version
            handle { $0.nodeInspected(version, path: path) }
        case .restoreFolders(let cause, _, let slots):
            let restored = try await queue.folders.restoreMissing()
            if !slots.isEmpty { try await queue.folders.createSlots(slots) }
            handle { $0.foldersRestored(cause, isPlanned: !restored && !slots.isEmpty) }
        case .readClock:
            let start = now
            let stat = try await store.probe(below: queue.tree.root)
            handle { $0.clockRead(stat.mtime, sentAt: start, now: now) }
        case .findDuplicates(let entries, let buckets): try await findDuplicates(entries, buckets)
        case .measureFill(let countingBytes):
            let fill = try await queue.usage.fill(countingBytes: countingBytes)
            handle { $0.fillMeasured(fill, now: now) }
        case .pause(let cause): await cause.pauseIfRefusedAtOnce(store)
        case .sleep(let duration): try await store.sleep(for: duration)
        }
    }

    /// Reads the epoch and the settings. Waits for the end of a rollover first, but for a second at most, because the
    /// recovery that began the rollover may have failed.
    private func readEpoch() async throws {
        var epoch = try await queue.reader.sequenceEpoch()
        if handle({ $0.mustWait(for: epoch) }) {
            epoch = try await queue.reader.sequenceEpoch(after: epoch, within: .seconds(1))
        }
        let attributes = try await queue.attributeStore.read()
        handle { $0.epochRead(epoch, attributes) }
    }

    /// Finds the waiting messages whose IDs are stored already.
    ///
    /// When one ID is a duplicate, another producer has usually sent several of the same IDs. A message whose ID exists
    /// was stored. An ID that is not seen may have been stored since, and the transaction detects that.
    private func findDuplicates(_ entries: [ProducerSequence.Entry], _ buckets: DeduplicationBuckets) async throws {
        for number in buckets.numbers {
            let readings = try await queue.reader.read(entries.map { queue.tree.id($0.id ?? "", inBucket: number) })
            // An ID that the client may not read exists all the same.
            handle { $0.duplicatesFound(zip(entries, readings).filter { !$1.isMissing }.map { $0.0 }) }
        }
    }
}
