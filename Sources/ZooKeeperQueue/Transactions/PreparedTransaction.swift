import ZooKeeper

/// The operations of a ``QueueTransaction``, and the meaning of their results: a value. The caller's own operations
/// come first, so an index among them is also one of these.
struct PreparedTransaction: Sendable {
    private let transaction: QueueTransaction
    private let queue: MessageQueue
    /// When to give up, by the store's clock.
    private let end: Duration
    private var parts: [PreparedSends]
    /// The bytes to leave for the next message of the group whose head is acknowledged.
    private let bytesOfGroup: Int

    /// Checks the messages, and reads what the operations depend on.
    ///
    /// - Parameters:
    ///   - queue: the queue whose store sends the transaction.
    ///   - limit: how long the transaction may take.
    ///   - bytesOfGroup: the bytes to leave for the next message of the group whose head is acknowledged.
    ///   - isAlone: whether it is a transaction of its own, and not a part of an acknowledgement.
    /// - Throws: ``QueueError`` before anything is stored.
    init(
        _ transaction: QueueTransaction, on queue: MessageQueue, within limit: Duration, bytesOfGroup: Int = 0,
        isAlone: Bool = false
    ) async throws {
        self.bytesOfGroup = bytesOfGroup
        self.transaction = transaction
        self.queue = queue
        end = queue.store.now + limit
        parts = try Self.parts(transaction, on: queue.store)
        if parts.isEmpty, !isAlone { return }
        try await persistently { transaction in
            guard try await transaction.queue.store.capabilities.contains(.transactions) else {
                throw QueueError.storeHasNoTransactions
            }
        }
        if parts.isEmpty { return }
        try await persistently { transaction in
            for part in transaction.parts { try await part.queue.prepare() }
        }
        let clock = try await readClock()
        try await persistently { transaction in
            for index in transaction.parts.indices { try await transaction.parts[index].prepare(clock) }
        }
        try checkSize()
    }

    /// Returns the messages of each queue.
    private static func parts(_ transaction: QueueTransaction, on store: any ZooKeeperStore) throws -> [PreparedSends] {
        var (queues, messages): ([MessageQueue], [ExactString: [(Int, OutgoingMessage)]]) = ([], [:])
        for (index, send) in transaction.sends.enumerated() {
            guard send.queue.store.isSame(as: store) else {
                throw QueueError(
                    .invalidArgument,
                    "The queue \(send.queue.path) uses another client. Create all queues of a transaction with the "
                        + "same client.")
            }
            let path = ExactString(send.queue.path)
            if messages[path] == nil { queues.append(send.queue) }
            messages[path, default: []].append((index, send.queue.tracing?.inject(send.message) ?? send.message))
        }
        return try queues.map {
            try PreparedSends(
                messages[ExactString($0.path)] ?? [], to: $0, ignoresCapacity: transaction.ignoresCapacity)
        }
    }

    /// Reads the ensemble's clock, if a message depends on it.
    private func readClock() async throws -> EnsembleClock {
        var clock = EnsembleClock()
        guard let dependent = parts.first(where: \.needsClock) else { return clock }
        let (store, root) = (queue.store, dependent.queue.tree.root)
        var transaction = self
        try await transaction.persistently { _ in
            let start = store.now
            let stat = try await store.probe(below: root)
            clock.observe(stat.mtime, sentAt: start, receivedAt: store.now)
        }
        return clock
    }

    // MARK: Operations

    var operations: [ZooKeeperOperation] {
        transaction.operations + parts.flatMap { $0.creation?.operations ?? [] }
    }

    /// Whether a message is stored in this group.
    func stores(in group: GroupKey, of tree: QueueTree) -> Bool {
        parts.contains { ExactString($0.queue.path) == ExactString(tree.root) && $0.contains(group) }
    }

    /// Lets the first message of the group take the place of the head, which the same transaction removes; `nil` for no
    /// group.
    ///
    /// - Parameter version: the version of the group's node, if the node has unusable children.
    mutating func handOver(_ group: GroupKey?, at version: Int32?, of tree: QueueTree) {
        for index in parts.indices where ExactString(parts[index].queue.path) == ExactString(tree.root) {
            parts[index].handOver(group, at: version)
        }
    }

    /// The operations and bytes that are left for what accompanies the transaction: the consumer's own operations, or
    /// the mark.
    private static let reserve = (operations: 8, bytes: 4_096)

    private func checkSize() throws {
        let operations = operations
        let bytes = operations.reduce(0) { $0 + queue.store.size(of: $1) }
        let limit = (
            operations: Request.maximumOperations - Self.reserve.operations,
            bytes: queue.store.maximumRequestSize - Self.reserve.bytes - bytesOfGroup
        )
        if operations.count <= limit.operations, bytes <= limit.bytes { return }
        throw QueueError(
            .payloadTooLarge,
            "The transaction has \(operations.count) operations with \(bytes) bytes, but the limits are "
                + "\(limit.operations) and \(limit.bytes). Send fewer messages in it, or raise the client's "
                + "maximumRequestSize.")
    }

    /// Returns the receipts of the messages, in the order in which they were added.
    ///
    /// - Parameter results: the results of ``operations``; `nil` when the reply was lost.
    func receipts(_ results: ArraySlice<OperationResult>?) -> [SendReceipt] {
        var receipts = transaction.sends.map { _ in SendReceipt(nodeName: nil) }
        var results = results?.dropFirst(transaction.operations.count)
        for part in parts {
            for index in part.duplicates { receipts[index].isDuplicate = true }
            guard let creation = part.creation, let some = results else { continue }
            for (index, name) in zip(part.indices, creation.names(some)) {
                receipts[index] = SendReceipt(nodeName: name)
            }
            results = some.dropFirst(creation.operations.count)
        }
        return receipts
    }

    // MARK: Refusals

    /// Handles the refusal of an operation, after which another attempt can succeed. Nothing was applied.
    ///
    /// - Throws: the error if another attempt would fail too, or if the time is over.
    mutating func refused(at index: Int, _ cause: ZooKeeperError) async throws {
        if queue.store.now > end { throw Self.timedOut(cause) }
        if index < transaction.operations.count { throw QueueError(operation: index, refused: cause) }
        var start = transaction.operations.count
        for number in parts.indices {
            let count = parts[number].creation?.operations.count ?? 0
            if index < start + count {
                let offset = index - start
                return try await persistently { try await $0.parts[number].refused(at: offset, cause) }
            }
            start += count
        }
        throw QueueError(cause, while: "storing messages", queue: queue.path)
    }

    /// Repeats reads, and creates of missing folders, while no server responds. Repeating them is harmless.
    mutating func persistently(_ body: (inout PreparedTransaction) async throws -> Void) async throws {
        while true {
            do {
                return try await QueueError.translating(while: "storing messages", queue: queue.path) {
                    try await body(&self)
                }
            } catch let error as QueueError {
                guard let cause = error.cause, cause.isRetryable, queue.store.now < end else {
                    throw error.code == .outcomeUnknown ? Self.timedOut(error.cause) : error
                }
                await cause.pauseIfRefusedAtOnce(queue.store)
            }
        }
    }

    static func timedOut(_ cause: ZooKeeperError?) -> QueueError {
        QueueError(
            .timedOut, "The transaction did not succeed in time. Nothing of it was applied. Try again.", cause: cause)
    }
}
