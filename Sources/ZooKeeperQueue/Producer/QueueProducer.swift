import Logging
import ZooKeeper

/// Stores messages in a queue, each exactly once, in the order of the calls.
///
/// A lost connection, an expired session and a restarted server are survived: a batch whose answer was lost is repeated
/// in a form that cannot be stored twice (see the lane protocol in the documentation). While a batch is under way, further
/// messages gather, and go with the next one; when many have gathered, a next one goes at once, up to four at a time. A lone
/// message waits for nobody.
///
/// Close it with ``close()``, which removes its lane from the tree. A producer that is dropped unclosed leaves a small
/// node, which a recovery removes later.
public actor QueueProducer {
    private typealias Waiter = CheckedContinuation<[SendReceipt], any Error>
    private typealias StateMachine = ProducerStateMachine<Waiter>

    nonisolated let queue: MessageQueue
    private nonisolated let encoder: MessageEncoder
    private let sendTimeout: Duration

    /// Everything that the producer knows. It changes by ``handle(_:)`` alone.
    private var state: StateMachine
    /// Ends the sends whose deadlines have passed; `close()` waits for it.
    private var timer: Task<Void, Never>?
    /// Callers of `close()`, until nothing is under way.
    private var idleWaiters: [CheckedContinuation<Void, Never>] = []

    /// What a send does when the queue has reached its bound.
    public enum WhenFull: Sendable, Hashable {
        /// It throws ``QueueError/Code/queueFull``.
        case fail
        /// It waits until there is room, for as long as a send may take; then it throws ``QueueError/Code/queueFull``. It looks
        /// up to twenty times a second, and once a second after a while.
        case wait
    }

    /// Creates a producer; nothing is sent before its first message.
    ///
    /// - Parameters:
    ///   - queue: where the messages go.
    ///   - whenFull: what a send does when the queue has reached its ``QueueBound``. Default: it throws.
    ///   - sendTimeout: how long a send may take before it throws, unless the call says otherwise. Default: 30 seconds.
    ///   - maximumQueuedSends: how many messages may wait in the producer or be under way. When there are so many, a send
    ///     throws ``QueueError/Code/overloaded`` at once. It does not wait, because a task that waits keeps its messages in
    ///     memory too. A send of several messages is accepted as a whole as long as the limit is not reached.
    ///     Default: 100,000.
    ///   - maximumQueuedBytes: the same limit for the bytes of their payloads and headers. Default: 256 MiB.
    public init(
        _ queue: MessageQueue, whenFull: WhenFull = .fail, sendTimeout: Duration = .seconds(30),
        maximumQueuedSends: Int = 100_000, maximumQueuedBytes: Int = 256 << 20
    ) {
        self.init(
            queue, whenFull: whenFull, sendTimeout: sendTimeout, maximumQueuedSends: maximumQueuedSends,
            maximumQueuedBytes: maximumQueuedBytes, minimumBatch: 32)
    }

    /// - Parameters:
    ///   - minimumBatch: how many messages must have gathered before a further batch is sent beside others.
    ///   - batchesOfALane: after how many the producer begins another lane.
    package init(
        _ queue: MessageQueue, whenFull: WhenFull = .fail, sendTimeout: Duration, maximumQueuedSends: Int = 100_000,
        maximumQueuedBytes: Int = 256 << 20, minimumBatch: Int, batchesOfALane: Int32 = ProducerLimits.batchesOfANode
    ) {
        self.queue = queue
        self.sendTimeout = sendTimeout
        encoder = MessageEncoder(queue)
        state = ProducerStateMachine(
            queue, whenFull: whenFull,
            limits: ProducerLimits(
                queuedSends: max(1, maximumQueuedSends), queuedBytes: max(1, maximumQueuedBytes),
                minimumBatch: minimumBatch, batchesOfANode: batchesOfALane))
    }

    /// The longest payload in bytes that a message of this queue can have; headers take from it.
    public nonisolated var maximumPayloadSize: Int { encoder.maximumPayloadSize }

    deinit { timer?.cancel() }

    // MARK: Events and actions

    /// Changes the state by an event, and then runs the actions that it demands.
    @discardableResult
    private func handle<Value>(
        _ event: (inout StateMachine) throws -> Value
    ) rethrows -> Value {
        let result = try event(&state)
        while let action = state.nextAction() { run(action) }
        return result
    }

    private func run(_ action: StateMachine.Action) {
        switch action {
        // Batches begin on this thread, so that they are sent in the order of their versions, and a lone message wakes no
        // other thread.
        case .send(let plan):
            Task.immediate {
                let answer = await send(plan)
                handle { $0.answered(plan, answer, now: now) }
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

    private func send(_ plan: BatchPlan) async -> Result<[OperationResult], any Error> {
        do {
            return .success(try await queue.store.multi(plan.operations))
        } catch {
            return .failure(error)
        }
    }

    private func wake(at time: Duration) {
        timer?.cancel()
        let store = queue.store
        // Weakly, so that a producer that is dropped ends at once, and its timer with it.
        timer = Task { [weak self] in
            guard (try? await store.sleep(for: max(.zero, time - store.now))) != nil else { return }
            await self?.deadlinePassed()
        }
    }

    private func deadlinePassed() {
        // Another timer has taken its place.
        if Task.isCancelled { return }
        timer = nil
        handle { $0.deadlinePassed(now: now) }
    }

    // MARK: Sending

    /// Stores a message.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - timeout: how long the call may take. Default: the producer's `sendTimeout`.
    /// - Returns: when the message is stored on a majority of the ensemble, with its name.
    /// - Throws: ``QueueError``. ``QueueError/Code/outcomeUnknown`` says that the message may be stored or not, because its
    ///   time was over, or the task was cancelled, while it was under way. It stays under way: ``repeatSend(_:timeout:)``
    ///   with ``QueueError/unresolvedSend`` waits for the outcome, and the message is stored once. After any other error it
    ///   is not stored, as after `CancellationError`: the task was cancelled before the message was sent.
    @discardableResult
    public func send(_ message: OutgoingMessage, timeout: Duration? = nil) async throws -> SendReceipt {
        let receipts = try await send([message], timeout: timeout)
        return receipts.first ?? SendReceipt(name: nil)
    }

    /// Stores bytes.
    ///
    /// - Parameters:
    ///   - payload: the bytes, at most ``maximumPayloadSize``.
    ///   - priority: 0…999; a lower number is served first.
    ///   - headers: names and values that travel with the bytes.
    ///   - timeout: how long the call may take. Default: the producer's `sendTimeout`.
    /// - Throws: see ``send(_:timeout:)-(OutgoingMessage,_)``.
    @discardableResult
    public func send(
        _ payload: [UInt8], priority: Int = 100, headers: [String: String] = [:], timeout: Duration? = nil
    ) async throws -> SendReceipt {
        try await send(OutgoingMessage(payload, priority: priority, headers: headers), timeout: timeout)
    }

    /// Stores a text as UTF-8.
    ///
    /// - Throws: see ``send(_:timeout:)-(OutgoingMessage,_)``.
    @discardableResult
    public func send(
        _ text: String, priority: Int = 100, headers: [String: String] = [:], timeout: Duration? = nil
    ) async throws -> SendReceipt {
        try await send(OutgoingMessage(text, priority: priority, headers: headers), timeout: timeout)
    }

    /// Stores several messages in their order. They may become ready in several steps, the first ones first.
    ///
    /// Once the first of them is under way, all are: when the time is over or the task is cancelled then, the rest is stored
    /// too, and ``repeatSend(_:timeout:)`` waits for it.
    ///
    /// - Returns: a receipt for each message, in their order, when all are stored.
    /// - Throws: see ``send(_:timeout:)-(OutgoingMessage,_)``. When ZooKeeper refuses the messages for a reason that stays,
    ///   such as ``QueueError/Code/notPermitted``, the first ones may be stored.
    @discardableResult
    public func send(_ messages: [OutgoingMessage], timeout: Duration? = nil) async throws -> [SendReceipt] {
        try Task.checkCancellation()
        let messages = try messages.map { try encoder.encode($0) }
        try handle { try $0.accept(messages.count) }
        if messages.isEmpty { return [] }
        let (now, timeout) = (now, timeout ?? sendTimeout)
        return try await waiting { waiter in
            handle { $0.send(messages, deadline: now + timeout, waiter: waiter, now: now) }
        }
    }

    /// Waits again for a send that threw ``QueueError/Code/outcomeUnknown``.
    ///
    /// - Parameters:
    ///   - id: the error's ``QueueError/unresolvedSend``.
    ///   - timeout: how long the call may take. Default: the producer's `sendTimeout`.
    /// - Returns: its receipts, when its messages are stored: once, however often this is called.
    /// - Throws: see ``send(_:timeout:)-(OutgoingMessage,_)``; ``QueueError/Code/notFound`` for a send that is not this
    ///   producer's, or whose result was fetched, or forgotten since a thousand others came after it. `CancellationError`
    ///   when the task was cancelled before the call, which then changes nothing.
    @discardableResult
    public func repeatSend(_ id: SendID, timeout: Duration? = nil) async throws -> [SendReceipt] {
        try Task.checkCancellation()
        let (now, timeout) = (now, timeout ?? sendTimeout)
        return try await waiting { waiter in
            handle { $0.waitAgain(for: id, deadline: now + timeout, waiter: waiter, now: now) }
            return id
        }
    }

    /// Waits for a send that `register` registers, until it has a result, its deadline passes, or the task is cancelled.
    private func waiting(
        _ register: (Waiter) -> SendID
    ) async throws -> [SendReceipt] {
        // The handler may run at once, before there is a number, or at any later time.
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

    private func cancel(_ id: SendID) { handle { $0.cancelled(id) } }

    /// Sends what has gathered, removes the lane from the tree, and refuses further messages. Messages that cannot be
    /// stored by the time of their deadline fail as usual. Closing again waits for the same end.
    public func close() async {
        if handle({ $0.close() }) { await withCheckedContinuation { idleWaiters.append($0) } }
        while let timer {
            self.timer = nil
            timer.cancel()
            await timer.value
        }
        guard let name = handle({ $0.leave() }) else { return }
        // Runs in a task of its own, which is not cancelled. After an error, a recovery removes the lane.
        await Task { try? await queue.store.delete(queue.tree.lane(name), version: nil) }.value
    }

    // MARK: Maintenance

    /// Carries out one step after the other that later batches must wait for.
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
            let buckets = try await queue.folders.idBuckets()
            handle { $0.bucketsRead(buckets) }
        case .createNode(let path):
            do {
                _ = try await store.create(path, data: [], mode: .persistent)
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // The answer to an earlier attempt with this very name was lost; nobody else knows the name.
            }
            handle { $0.nodeCreated() }
        case .deleteNode(let path): try await store.delete(path, version: nil)
        case .resolve(let plan):
            let answer = await send(plan)
            handle { $0.resolved(plan, answer) }
        case .inspectNode(let path):
            // The session may have gone on at a server that is behind the one that refused the batch.
            try await store.sync(path)
            let version = try await store.exists(path)?.version
            handle { $0.nodeInspected(version, path: path) }
        case .restoreFolders(let cause, _):
            try await queue.folders.restoreMissing()
            handle { $0.foldersRestored(cause) }
        case .findDuplicates(let entries, let buckets): try await findDuplicates(entries, buckets)
        case .measureFill(let countingBytes):
            let fill = try await queue.usage.fill(countingBytes: countingBytes)
            handle { $0.fillMeasured(fill, now: now) }
        case .pause(let cause): await cause.pauseIfRefusedAtOnce(store)
        case .sleep(let duration): try await store.sleep(for: duration)
        }
    }

    /// Waits for the end of a passage from one epoch to the next, but not for long: the recovery that began it may have
    /// failed.
    private func readEpoch() async throws {
        var epoch = try await queue.reader.sequenceEpoch()
        if handle({ $0.mustWait(for: epoch) }) {
            epoch = try await queue.reader.sequenceEpoch(after: epoch, within: .seconds(1))
        }
        let settings = try await queue.attributes.read()
        handle { $0.epochRead(epoch, settings) }
    }

    /// Another producer has sent the same ids before: as a rule, not only one of them. What is read to be there was stored; what
    /// is not read may be there all the same, and is refused then.
    private func findDuplicates(_ entries: [SendLane.Entry], _ buckets: IDBuckets) async throws {
        for number in buckets.numbers {
            let readings = try await queue.reader.read(entries.map { queue.tree.id($0.id ?? "", inBucket: number) })
            // An id that may not be read exists all the same.
            handle { $0.duplicatesFound(zip(entries, readings).filter { !$1.isMissing }.map { $0.0 }) }
        }
    }
}
