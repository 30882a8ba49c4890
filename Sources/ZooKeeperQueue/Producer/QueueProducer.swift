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
    let queue: MessageQueue
    private let sendTimeout: Duration
    let whenFull: WhenFull
    private let maximumQueuedSends: Int
    private let maximumQueuedBytes: Int
    let batchesOfALane: Int32
    var lane: SendLane
    var packing: NodePacking
    /// The epoch of the server's numbers, as it was read last.
    var epoch = SequenceEpoch()
    /// Whether the epoch must be read before something is sent.
    var mustReadEpoch = true
    var numbers = Numbers.left
    /// Where ids are remembered, as it was read last; `nil` when it must be read before a message with an id is sent.
    var buckets: IDBuckets?
    /// Whether a message has come that has an id.
    var usesIDs = false
    /// Whether somebody has sent ids that this producer sends too.
    var mustFindDuplicates = false
    /// What may be stored in a queue with a bound.
    var room = SendRoom()
    /// Why waiting sends are not admitted; `nil` while they are.
    var fullness: QueueError?
    /// The last definite failure since a batch was stored. It explains why a send waited and never began.
    var obstacle: ZooKeeperError?
    /// What the server has left to number messages with, in this epoch.
    enum Numbers { case left, refused, used }
    var laneName: String?
    /// The name of a lane that is no longer used, and perhaps still there.
    var formerLaneName: String?
    /// The name of a lane that is being made; kept until that is certain, so that a lost reply leaves no second one.
    var nextLaneName: String?
    var pending = PendingSends()
    /// Ends the sends whose deadlines have passed; `close()` waits for it. One timer serves the earliest deadline of
    /// all sends.
    var timer: (end: Duration, task: Task<Void, Never>)?
    /// How many batches are under way, each in a task that senders and `close()` wait for.
    var flights = 0
    /// Whether a task prepares the lane, or resolves what is unresolved; `close()` waits for it.
    var isManaging = false
    var idleWaiters: [CheckedContinuation<Void, Never>] = []
    var isPrepared = false
    var isClosed = false

    /// Room for the multi's own header, the operation on the lane and the checks of the epoch and of the ids.
    static let overhead = 512

    package static let batchesOfALane: Int32 = 1_000_000_000

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
    ///   - batchesOfALane: after how many the producer begins another lane: a version is 32 bits wide.
    package init(
        _ queue: MessageQueue, whenFull: WhenFull = .fail, sendTimeout: Duration, maximumQueuedSends: Int = 100_000,
        maximumQueuedBytes: Int = 256 << 20, minimumBatch: Int, batchesOfALane: Int32 = QueueProducer.batchesOfALane
    ) {
        self.batchesOfALane = batchesOfALane
        self.maximumQueuedSends = max(1, maximumQueuedSends)
        self.maximumQueuedBytes = max(1, maximumQueuedBytes)
        self.queue = queue
        self.sendTimeout = sendTimeout
        self.whenFull = whenFull
        let path = queue.tree.item(ItemName.prefix(priority: 0))
        emptyNodeSize = queue.store.size(of: .create(path, data: [], mode: .persistentSequential))
        lane = SendLane(
            maximumBytes: queue.store.maximumRequestSize - 64, maximumOperations: Self.maximumOperations,
            minimumBatch: minimumBatch)
        packing = NodePacking(maximumBytes: queue.store.maximumRequestSize / 2)
    }

    /// With the lane's own operation and the checks of the epoch and of the ids, the most that one multi may have.
    private static let maximumOperations = Request.maximumOperations - 3

    /// The longest payload in bytes that a message of this queue can have; headers take from it.
    public nonisolated var maximumPayloadSize: Int {
        // A claim moves the message with a delete and a create, whose path is longer than that of the first create.
        queue.store.maximumRequestSize - 2 * emptyNodeSize - Self.overhead - 256
    }

    /// What the create of a message's node adds to a multi beside the message's own bytes.
    private nonisolated let emptyNodeSize: Int

    deinit { timer?.task.cancel() }

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
        let messages = try messages.map { (priority: $0.priority, data: try data(of: $0), id: try idName(of: $0)) }
        if isClosed { throw QueueError(.closed, "The producer is closed: use a new one.") }
        if messages.isEmpty { return [] }
        try checkQueuedSends()
        let deadline = queue.store.now + (timeout ?? sendTimeout)
        return try await waiting { waiter in
            let bytes = messages.reduce(0) { $0 + $1.data.count }
            let id = pending.add(count: messages.count, bytes: bytes, deadline: deadline, waiter: waiter)
            if messages.contains(where: { $0.id != nil }) { usesIDs = true }
            lane.append(
                messages.enumerated().map { index, message in
                    SendLane.Entry(
                        send: id, index: index, priority: message.priority, data: message.data,
                        size: emptyNodeSize + message.data.count + sizeOfID(message.id), id: message.id)
                })
            launch()
            return id
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
        let deadline = queue.store.now + (timeout ?? sendTimeout)
        return try await waiting { waiter in
            pending.reattach(id, deadline: deadline, waiter: waiter)
            launch()
            return id
        }
    }

    /// Sends what has gathered, removes the lane from the tree, and refuses further messages. Messages that cannot be
    /// stored by the time of their deadline fail as usual. Closing again waits for the same end.
    public func close() async {
        isClosed = true
        if !lane.isEmpty || flights > 0 || isManaging { await withCheckedContinuation { idleWaiters.append($0) } }
        if let timer {
            self.timer = nil
            timer.task.cancel()
            await timer.task.value
        }
        guard let name = laneName ?? formerLaneName else { return }
        (laneName, formerLaneName) = (nil, nil)
        // Runs in a task of its own, which is not cancelled. After an error, a recovery removes the lane.
        await Task { try? await queue.store.delete(queue.tree.lane(name), version: nil) }.value
    }

    private func checkQueuedSends() throws {
        guard pending.messages >= maximumQueuedSends || pending.bytes >= maximumQueuedBytes else { return }
        throw QueueError(
            .overloaded,
            "\(pending.messages) messages of \(pending.bytes) bytes wait in the producer, and nothing was added. Wait until "
                + "earlier sends have returned, or raise the producer's maximumQueuedSends and maximumQueuedBytes.")
    }

    private func idName(of message: OutgoingMessage) throws -> String? {
        guard let id = message.id else { return nil }
        guard (1...IDBuckets.maximumLength).contains(id.utf8.count) else {
            throw QueueError(.invalidArgument, "A message's id has 1 to \(IDBuckets.maximumLength) bytes of UTF-8.")
        }
        return IDBuckets.nodeName(of: id)
    }

    /// What an id adds to a multi, with the longest number of a bucket.
    private func sizeOfID(_ name: String?) -> Int {
        guard let name else { return 0 }
        let path = queue.tree.id(name, inBucket: .max)
        return 2 * queue.store.size(of: .create(path, data: [])) + queue.store.size(of: .delete(path))
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
        let data = Envelope(headers: message.headers, payload: message.payload, id: message.id).encoded()
        guard data.count + sizeOfID(try idName(of: message)) <= maximumPayloadSize else {
            throw QueueError(
                .payloadTooLarge,
                "The message is \(data.count) bytes long with its headers, and the limit is \(maximumPayloadSize): store "
                    + "large things elsewhere and send where they are, or raise the client's maximumRequestSize.")
        }
        return data
    }
}
