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
    private let queue: MessageQueue
    private let sendTimeout: Duration
    private let batchesOfALane: Int32
    private var lane: SendLane
    private var packing: NodePacking
    /// The epoch of the server's numbers, as it was read last.
    private var epoch = SequenceEpoch()
    /// Whether the epoch must be read before something is sent.
    private var mustReadEpoch = true
    private var numbers = Numbers.left
    /// What the server has left to number messages with, in this epoch.
    private enum Numbers { case left, refused, used }
    private var laneName: String?
    /// The name of a lane that is no longer used, and perhaps still there.
    private var formerLaneName: String?
    /// The name of a lane that is being made; kept until that is certain, so that a lost reply leaves no second one.
    private var nextLaneName: String?
    private var pending = PendingSends()
    /// How many batches are under way, each in a task that senders and `close()` wait for.
    private var flights = 0
    /// Whether a task prepares the lane, or resolves what is unresolved; `close()` waits for it.
    private var isManaging = false
    private var idleWaiters: [CheckedContinuation<Void, Never>] = []
    private var isPrepared = false
    private var isClosed = false

    /// Room for the multi's own header, the operation on the lane and the check of the epoch.
    private static let overhead = 512

    package static let batchesOfALane: Int32 = 1_000_000_000

    /// Creates a producer; nothing is sent before its first message.
    ///
    /// - Parameters:
    ///   - queue: where the messages go.
    ///   - sendTimeout: how long a send waits for an answer before it throws. Default: 30 seconds. It is looked at each
    ///     time that the client's own call deadline passes or a connection is lost.
    public init(_ queue: MessageQueue, sendTimeout: Duration = .seconds(30)) {
        self.init(queue, sendTimeout: sendTimeout, minimumBatch: 32)
    }

    /// - Parameters:
    ///   - minimumBatch: how many messages must have gathered before a further batch is sent beside others.
    ///   - batchesOfALane: after how many the producer begins another lane: a version is 32 bits wide.
    package init(
        _ queue: MessageQueue, sendTimeout: Duration, minimumBatch: Int,
        batchesOfALane: Int32 = QueueProducer.batchesOfALane
    ) {
        self.batchesOfALane = batchesOfALane
        self.queue = queue
        self.sendTimeout = sendTimeout
        let path = queue.tree.item(ItemName.prefix(priority: 0))
        emptyNodeSize = queue.store.size(of: .create(path, data: [], mode: .persistentSequential))
        lane = SendLane(
            maximumBytes: queue.store.maximumRequestSize - 64, maximumOperations: Self.maximumOperations,
            minimumBatch: minimumBatch)
        packing = NodePacking(maximumBytes: queue.store.maximumRequestSize / 2)
    }

    /// With the lane's own operation and the check of the epoch, the most that one multi may have.
    private static let maximumOperations = 998

    /// The longest payload in bytes that a message of this queue can have; headers take from it.
    public nonisolated var maximumPayloadSize: Int {
        // A claim moves the message with a delete and a create, whose path is longer than that of the first create.
        queue.store.maximumRequestSize - 2 * emptyNodeSize - Self.overhead - 256
    }

    /// What the create of a message's node adds to a multi beside the message's own bytes.
    private nonisolated let emptyNodeSize: Int

    // MARK: Sending

    /// Stores a message.
    ///
    /// - Returns: when the message is stored on a majority of the ensemble, with its name.
    /// - Throws: ``QueueError``. ``QueueError/Code/outcomeUnknown`` says that the message may be stored or not;
    ///   ``repeatSend(_:)`` with ``QueueError/unresolvedSend`` then finds out, and the message is stored once. After any
    ///   other error it is not stored. `CancellationError` when the task was cancelled: a message that was under way
    ///   may still be stored.
    @discardableResult
    public func send(_ message: OutgoingMessage) async throws -> SendReceipt {
        let receipts = try await send([message])
        return receipts.first ?? SendReceipt(name: nil)
    }

    /// Stores bytes.
    ///
    /// - Parameters:
    ///   - payload: the bytes, at most ``maximumPayloadSize``.
    ///   - priority: 0…999; a lower number is served first.
    ///   - headers: names and values that travel with the bytes.
    /// - Throws: see ``send(_:)-(OutgoingMessage)``.
    @discardableResult
    public func send(_ payload: [UInt8], priority: Int = 100, headers: [String: String] = [:]) async throws
        -> SendReceipt
    {
        try await send(OutgoingMessage(payload, priority: priority, headers: headers))
    }

    /// Stores a text as UTF-8.
    ///
    /// - Throws: see ``send(_:)-(OutgoingMessage)``.
    @discardableResult
    public func send(_ text: String, priority: Int = 100, headers: [String: String] = [:]) async throws -> SendReceipt {
        try await send(OutgoingMessage(text, priority: priority, headers: headers))
    }

    /// Stores several messages in their order. They may become ready in several steps, the first ones first.
    ///
    /// - Returns: a receipt for each message, in their order, when all are stored.
    /// - Throws: see ``send(_:)-(OutgoingMessage)``; a part of the messages may be stored then, the first ones.
    @discardableResult
    public func send(_ messages: [OutgoingMessage]) async throws -> [SendReceipt] {
        try Task.checkCancellation()
        let messages = try messages.map { (priority: $0.priority, data: try data(of: $0)) }
        if isClosed { throw QueueError(.closed, "The producer is closed: use a new one.") }
        if messages.isEmpty { return [] }
        let deadline = queue.store.now + sendTimeout
        return try await waiting { waiter in
            let id = pending.add(count: messages.count, waiter: waiter)
            lane.append(
                messages.enumerated().map { index, message in
                    SendLane.Entry(
                        send: id, index: index, priority: message.priority, data: message.data,
                        size: emptyNodeSize + message.data.count, deadline: deadline)
                })
            launch()
            return id
        }
    }

    /// Waits again for a send that threw ``QueueError/Code/outcomeUnknown``, or whose task was cancelled.
    ///
    /// - Returns: its receipts, when its messages are stored: once, however often this is called.
    /// - Throws: see ``send(_:)-(OutgoingMessage)``; ``QueueError/Code/notFound`` for a send that is not this
    ///   producer's, or whose result was fetched, or forgotten since a thousand others came after it.
    @discardableResult
    public func repeatSend(_ id: SendID) async throws -> [SendReceipt] {
        try await waiting { waiter in
            pending.reattach(id, waiter: waiter)
            launch()
            return id
        }
    }

    /// Sends what has gathered, removes the lane from the tree, and refuses further messages. Messages that cannot be
    /// stored by the time of their deadline fail as usual. Closing again waits for the same end.
    public func close() async {
        isClosed = true
        if !lane.isEmpty || flights > 0 || isManaging { await withCheckedContinuation { idleWaiters.append($0) } }
        guard let laneName else { return }
        self.laneName = nil
        // Left behind on an error, it is removed by a recovery. In a task of its own, which is not cancelled.
        await Task { try? await queue.store.delete(queue.tree.lane(laneName), version: nil) }.value
    }

    private func waiting(_ register: (PendingSends.Waiter) -> SendID) async throws -> [SendReceipt] {
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

    private func cancel(_ id: SendID) {
        for entry in lane.removeWaiting(where: { $0.send == id }) {
            pending.finish(id, index: entry.index, with: .failure(CancellationError()))
        }
        pending.detach(id, with: CancellationError())
    }

    /// The bytes of a node for the message, or the reason why it cannot be one.
    private func data(of message: OutgoingMessage) throws -> [UInt8] {
        guard ItemName.priorities.contains(message.priority) else {
            throw QueueError(
                .invalidArgument,
                "A priority is a number from 0 to 999, and a lower one is served first; \(message.priority) is not.")
        }
        if let name = message.headers.keys.first(where: { $0.utf8.count > Envelope.maximumHeaderName }) {
            throw QueueError(.invalidArgument, "A header's name of \(name.utf8.count) bytes is too long.")
        }
        let data = Envelope(headers: message.headers, payload: message.payload).encoded()
        guard data.count <= maximumPayloadSize else {
            throw QueueError(
                .payloadTooLarge,
                "The message is \(data.count) bytes long with its headers, and the limit is \(maximumPayloadSize): store "
                    + "large things elsewhere and send where they are, or raise the client's maximumRequestSize.")
        }
        return data
    }

    // MARK: Sending batches

    /// Sends what has gathered, as far as the lane allows. Batches begin on this thread, so that they are sent in the order
    /// of their versions, and a lone message wakes no other thread.
    private func launch() {
        if isManaging { return }
        if mustManage {
            if lane.hasLanded { manage() }
            return
        }
        while let batch = lane.nextBatch(overhead: Self.overhead) {
            flights += 1
            Task.immediate {
                let landing = await send(batch)
                flights -= 1
                for (entries, names) in lane.landed(batch.version, landing) { finish(entries, names: names) }
                launch()
                tellIfIdle()
            }
        }
    }

    /// Whether there is something to do that later batches must wait for.
    private var mustManage: Bool {
        guard !lane.isEmpty else { return false }
        return lane.isHalted || !isPrepared || laneName == nil || mustReadEpoch || numbers != .left
            || lane.version >= batchesOfALane
    }

    private func manage() {
        isManaging = true
        Task.immediate {
            if lane.isHalted { await sortOut() }
            while let batch = lane.firstUnresolved {
                if mustReadEpoch || numbers != .left { await attempt(readEpoch) }
                await resolve(batch)
            }
            if !lane.isEmpty { await attempt(openLane) }
            isManaging = false
            launch()
            tellIfIdle()
        }
    }

    /// Sends a batch, for the first time or again.
    private func send(_ batch: SendLane.Batch) async -> Result<[String?], any Error> {
        guard let laneName else { return .failure(Self.laneIsGone) }
        let epoch = epoch
        let guards = [
            Operation.set(queue.tree.lane(laneName), data: [], version: batch.version), epoch.check(in: queue.tree),
        ]
        let groups = packing.groups(batch.entries)
        let creates = groups.compactMap { NodePacking.create($0, in: queue.tree) }
        do {
            let results = try await queue.store.multi(guards + creates)
            if let last = results.last.flatMap(Self.name), let name = ItemName(last, inEpoch: epoch.number),
                name.sequence > SequenceEpoch.lastNumber || name.sequence < 0
            {
                numbers = .used
            }
            return .success(
                zip(groups, results.dropFirst(guards.count)).flatMap { group, result in
                    NodePacking.names(group.count, node: Self.name(result), in: epoch)
                })
        } catch {
            return .failure(error)
        }
    }

    private static let laneIsGone = ZooKeeperError(
        code: .noNode, message: "The producer's lane is gone.", path: nil, operationIndex: 0, outcome: .notApplied)

    /// Its place among the operations of a batch, behind the lane's own.
    private static let epochCheck = 1

    private func tellIfIdle() {
        guard lane.isEmpty, flights == 0, !isManaging else { return }
        let waiters = idleWaiters
        idleWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    private static func name(_ result: OperationResult) -> String? {
        guard case .created(let path) = result else { return nil }
        return NodePath.name(of: path)
    }

    private func attempt(_ step: () async throws -> Void) async {
        do {
            try await step()
        } catch {
            await handle(error)
        }
    }

    /// Waits for the end of a passage from one epoch to the next, but not for long: who began it may have failed.
    private func readEpoch() async throws {
        var current = try await queue.sequenceEpoch()
        if current.phase == .closing || numbers != .left && current.number == epoch.number {
            current = try await queue.sequenceEpoch(after: current, within: .seconds(1))
        }
        // A message is also refused when somebody else has made a node of its number: it is tried again.
        if current.number != epoch.number || numbers == .refused { numbers = .left }
        epoch = current
        mustReadEpoch = false
        if numbers == .used { throw Self.noNumberLeft }
    }

    private static let noNumberLeft = ZooKeeperError(
        code: .deadlineExceeded,
        message: "The server has no number left for a message, which a recovery sees to: is one running?", path: nil,
        outcome: .notApplied)

    private func openLane() async throws {
        if !isPrepared {
            try await queue.prepare()
            // With one delivery alone, a consumer that fails would take all messages of a node to the dead letters.
            let isShared = queue.settings.maximumDeliveries > 1
            packing.messagesPerNode = isShared ? try await queue.sharedSettings().messagesPerNode : 1
            isPrepared = true
        }
        if mustReadEpoch || numbers != .left { try await readEpoch() }
        // Never changed while a batch is unresolved, which only its own lane can resolve.
        if laneName != nil, lane.version < batchesOfALane || !lane.batches.isEmpty { return }
        let old = laneName ?? formerLaneName
        let name = nextLaneName ?? UniqueName.make()
        nextLaneName = name
        do {
            _ = try await queue.store.create(queue.tree.lane(name), data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // The answer to an earlier attempt with this very name was lost; nobody else knows the name.
        }
        laneName = name
        nextLaneName = nil
        formerLaneName = nil
        lane.renewed()
        if let old { try? await queue.store.delete(queue.tree.lane(old), version: nil) }
    }

    // MARK: Failures

    /// All that was under way has landed, and something has failed.
    private func sortOut() async {
        let (stored, error) = lane.sortOut()
        for (entries, names) in stored { finish(entries, names: names) }
        if let error { await handle(error) }
    }

    /// Sends the first unresolved batch again, and learns what became of it.
    private func resolve(_ batch: SendLane.Batch) async {
        switch await send(batch) {
        case .success(let names): finish(lane.firstIsStored(), names: names)
        case .failure(let error):
            let cause = error as? ZooKeeperError
            if let cause, cause.operationIndex == 0, cause.code == .badVersion {
                // The version has moved on, and nobody but this producer moves it: the batch was stored.
                let entries = lane.firstIsStored()
                finish(entries, names: .init(repeating: nil, count: entries.count))
            } else {
                await handle(error)
            }
        }
    }

    private func handle(_ error: any Error) async {
        guard let cause = (error as? ZooKeeperError) ?? (error as? QueueError)?.cause else { return fail(with: error) }
        if cause.operationIndex == 0, cause.code == .badVersion || cause.code == .noNode {
            renewLane()
        } else if cause.operationIndex == Self.epochCheck, cause.code == .badVersion {
            mustReadEpoch = true
        } else if let operation = cause.operationIndex, operation > Self.epochCheck, cause.code == .nodeExists {
            numbers = .refused
            giveUpExpired(cause)
        } else if cause.isPassing {
            giveUpExpired(cause)
            await cause.pauseIfRefusedAtOnce(queue.store)
        } else {
            if cause.code == .noNode { (isPrepared, mustReadEpoch) = (false, true) }
            // An operation of the batch was refused, so the lane's version still fitted: nothing was stored before.
            fail(with: error, isCertain: cause.operationIndex != nil)
        }
    }

    /// The lane is gone, after a silence longer than ``QueueSettings/laneRetention``, or somebody wrote to it. Only a
    /// new one can tell from here on; what was unresolved on the old one stays so.
    private func renewLane() {
        formerLaneName = laneName
        laneName = nil
        let error = QueueError(
            .outcomeUnknown, "The producer's lane was removed before the outcome of the send could be learnt.")
        finish(lane.abandonUnresolved(), error: error)
    }

    /// A refusal holds for all that waits, since it is not about one message.
    private func fail(with error: any Error, isCertain: Bool = false) {
        let refusal =
            (error as? ZooKeeperError).map { QueueError($0, while: "storing messages", queue: queue.path) } ?? error
        let unknown = QueueError(
            .outcomeUnknown, "The messages may be stored or not, and it can no longer be found out.",
            cause: error as? ZooKeeperError)
        if lane.isUnresolved {
            if isCertain {
                finish(lane.firstIsRefused(), error: refusal)
            } else {
                finish(lane.abandonUnresolved(), error: unknown)
                // Nobody knows its version any more.
                laneName = nil
            }
        }
        finish(lane.removeWaiting { _ in true }, error: refusal)
    }

    private func finish(_ entries: [SendLane.Entry], names: [String?]) {
        for (entry, name) in zip(entries, names) {
            pending.finish(entry.send, index: entry.index, with: .success(SendReceipt(name: name)))
        }
    }

    private func finish(_ entries: [SendLane.Entry], error: any Error) {
        for entry in entries { pending.finish(entry.send, index: entry.index, with: .failure(error)) }
    }

    /// Tells those whose time is over. An unresolved batch is tried on even when nobody waits for it: what comes after it
    /// must not overtake it.
    private func giveUpExpired(_ cause: ZooKeeperError) {
        let now = queue.store.now
        finish(
            lane.removeWaiting { $0.deadline <= now },
            error: QueueError(
                .unreachable, "No server answered in time; the message is not stored.", cause: cause))
        let unknown = { (send: SendID?) in
            QueueError(
                .outcomeUnknown,
                "No answer came in time: the messages may be stored or not. Repeat the send to find out; it stores nothing "
                    + "twice.", cause: cause, unresolvedSend: send)
        }
        let uncertain = lane.batches.flatMap(\.entries)
        for send in Set(uncertain.filter { $0.deadline <= now }.map(\.send)) {
            pending.detach(send, with: unknown(send))
        }
        // Nobody will ask any more, and `close()` waits.
        if isClosed, !uncertain.isEmpty, uncertain.allSatisfy({ $0.deadline <= now }) {
            finish(lane.abandonUnresolved(), error: unknown(nil))
            // Nobody knows its version any more.
            if !lane.isEmpty { laneName = nil }
        }
    }
}
