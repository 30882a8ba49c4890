import ZooKeeper

extension MessageQueue {
    /// Stores messages in queues of the same ensemble, and changes other nodes, in one transaction that happens once.
    ///
    /// It survives lost connections, expired sessions and server restarts, like a send. It leaves nothing else in the
    /// tree; if the process crashes during the call, a small node can stay below this queue's `producers`, which a
    /// recovery removes. A ``QueueProducer`` stores many messages faster.
    ///
    /// Cancellation has no effect once the call has begun to send.
    ///
    /// - Parameters:
    ///   - timeout: how long the call may take. Default: 30 seconds.
    ///   - body: adds messages and operations.
    /// - Returns: a receipt for each message, in the order in which they were added. A message whose
    ///   ``OutgoingMessage/id`` was stored before is left out, and the rest of the transaction happens.
    /// - Throws: the error of `body`. ``QueueError``: ``QueueError/Code/invalidArgument`` and
    ///   ``QueueError/Code/payloadTooLarge`` before anything is sent; ``QueueError/Code/operationRefused`` when
    ///   ZooKeeper refuses one of the operations that `body` added; ``QueueError/Code/queueFull``,
    ///   ``QueueError/Code/paused`` or ``QueueError/Code/timedOut``. After these errors, nothing of the transaction has
    ///   happened. ``QueueError/Code/outcomeUnknown`` when the last attempt got no reply in time. Throws
    ///   `CancellationError` when the task was cancelled before the call.
    @discardableResult
    public func transaction(
        timeout: Duration = .seconds(30), _ body: (inout QueueTransaction) throws -> Void
    ) async throws -> [SendReceipt] {
        var transaction = QueueTransaction()
        try body(&transaction)
        if transaction.sends.isEmpty, transaction.operations.isEmpty { return [] }
        try Task.checkCancellation()
        let request = transaction
        // A separate task, which is not cancelled. Its requests have deadlines.
        return try await Task { try await apply(request, within: timeout) }.value
    }

    /// Sends a transaction until its outcome is certain.
    ///
    /// The multi creates a node with a random name, the *mark*. So it is refused if an earlier attempt was applied.
    private func apply(_ transaction: QueueTransaction, within timeout: Duration) async throws -> [SendReceipt] {
        let end = store.now + timeout
        var prepared = try await PreparedTransaction(transaction, on: self, within: timeout)
        let mark = tree.producer(RandomName.make())
        var isUnresolved = false
        var lastError: ZooKeeperError?
        repeat {
            do {
                let results = try await store.multi([.create(mark, data: [])] + prepared.operations)
                await store.deleteIfPossible(mark)
                return prepared.receipts(results.dropFirst())
            } catch let error as ZooKeeperError {
                lastError = error
                switch error.operationIndex {
                case _ where error.outcome == .unknown: isUnresolved = true
                case 0? where error.code == .nodeExists:
                    await store.deleteIfPossible(mark)
                    return prepared.receipts(nil)
                case 0? where error.code == .noNode: try await prepared.persistently { _ in try await prepare() }
                case let index? where index > 0:
                    // The mark could be created, so no earlier attempt was applied.
                    isUnresolved = false
                    try await prepared.refused(at: index - 1, error)
                case _ where error.isRetryable: await error.pauseIfRefusedAtOnce(store)
                case _ where isUnresolved: throw Self.unknown(error)
                default: throw QueueError(error, while: "applying a transaction", queue: path)
                }
            }
        } while store.now < end
        throw isUnresolved ? Self.unknown(lastError) : PreparedTransaction.timedOut(lastError)
    }

    private static func unknown(_ cause: ZooKeeperError?) -> QueueError {
        QueueError(
            .outcomeUnknown,
            "No response arrived, so the transaction may or may not have been applied. Only messages with an ID can be "
                + "sent again without a duplicate.", cause: cause)
    }
}
