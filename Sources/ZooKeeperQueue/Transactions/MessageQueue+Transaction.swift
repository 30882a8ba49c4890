import CoreMetrics
import ZooKeeper

extension MessageQueue {
    /// Stores messages in queues of the same ensemble, and changes other nodes, in one transaction that happens once.
    ///
    /// It survives lost connections, expired sessions and server restarts, like a send. It leaves nothing else in the
    /// tree; after a crash or an unknown outcome, a small node can stay below this queue's `producers`, which a
    /// recovery removes. A ``QueueProducer`` stores many messages faster.
    ///
    /// Cancellation has no effect once the call has begun.
    ///
    /// - Parameters:
    ///   - timeout: after which time no further attempt begins. A request in progress can take the client's
    ///     `requestTimeout` longer. At most ten minutes; a recovery's `producerStateRetention` must be longer. Default:
    ///     30 seconds.
    ///   - body: adds messages and operations.
    /// - Returns: a receipt for each message, in the order in which they were added. A message whose
    ///   ``OutgoingMessage/id`` was stored before is left out, and the rest of the transaction happens.
    /// - Throws: the error of `body`. ``QueueError``: ``QueueError/Code/invalidArgument`` and
    ///   ``QueueError/Code/payloadTooLarge`` before anything is sent; ``QueueError/Code/operationRefused`` when
    ///   ZooKeeper refuses one of the operations that `body` added; ``QueueError/Code/queueFull``,
    ///   ``QueueError/Code/paused`` or ``QueueError/Code/timedOut``. After these errors, nothing of the transaction has
    ///   happened. ``QueueError/Code/outcomeUnknown`` when no attempt got a reply in time. A store without transactions
    ///   is ``QueueError/Code/invalidArgument``. Throws `CancellationError` when the task was cancelled before the
    ///   call.
    @discardableResult
    public func transaction(
        timeout: Duration = .seconds(30), _ body: (inout QueueTransaction) throws -> Void
    ) async throws -> [SendReceipt] {
        var transaction = QueueTransaction()
        try body(&transaction)
        if transaction.sends.isEmpty, transaction.operations.isEmpty { return [] }
        guard timeout <= .seconds(600) else {
            throw QueueError(
                .invalidArgument, "The timeout of a transaction must be at most ten minutes, not \(timeout).")
        }
        try Task.checkCancellation()
        // The metrics and the span are those of the queue that gets the messages, if there is one such queue.
        let paths = Set(transaction.sends.map { ExactString($0.queue.path) })
        let target = paths.count == 1 ? transaction.sends[0].queue : self
        guard let tracing = target.tracing, !paths.isEmpty else {
            return try await store(transaction, timeout, target.metrics)
        }
        return try await tracing.send(transaction.sends.map(\.message)) { _ in
            try await store(transaction, timeout, target.metrics)
        }
    }

    private func store(
        _ transaction: QueueTransaction, _ timeout: Duration, _ metrics: QueueMetrics
    ) async throws -> [SendReceipt] {
        let start = metrics.isEnabled && !transaction.sends.isEmpty ? ContinuousClock.now : nil
        do {
            let (prepared, results) = try await applyOnce(transaction, within: timeout)
            let receipts = prepared.receipts(results)
            if let start { metrics.sendDuration.record(start.duration(to: .now)) }
            for (send, receipt) in zip(transaction.sends, receipts) where !receipt.isDuplicate {
                send.queue.metrics.sent.increment()
            }
            return receipts
        } catch {
            for send in transaction.sends { send.queue.metrics.countFailure(of: 1, error) }
            throw error
        }
    }

    /// Applies a transaction, and returns the results of its operations; `nil` when the reply was lost. Cancellation
    /// has no effect.
    func applyOnce(
        _ transaction: QueueTransaction, within timeout: Duration
    ) async throws -> (prepared: PreparedTransaction, results: ArraySlice<OperationResult>?) {
        // A separate task, which is not cancelled. Its requests have deadlines.
        try await Task {
            let end = store.now + timeout
            var prepared = try await PreparedTransaction(transaction, on: self, within: timeout, isAlone: true)
            let mark = tree.producer(RandomName.make())
            try await prepared.persistently { _ in try await createMark(mark) }
            let results = try await apply(&prepared, mark, until: end)
            await store.deleteIfPossible(mark)
            return (prepared, results)
        }.value
    }

    /// Sends a transaction until its outcome is certain.
    ///
    /// The multi changes a node that was created before it, the *mark*, from version 0 to version 1. So each later
    /// attempt is refused once one was applied, also one that is still on its way when this call ends.
    private func apply(
        _ prepared: inout PreparedTransaction, _ mark: String, until end: Duration
    ) async throws -> ArraySlice<OperationResult>? {
        // Whether the last attempt, or any attempt, has got no reply.
        var (isUnresolved, wasUnanswered) = (false, false)
        var lastError: ZooKeeperError?
        do {
            repeat {
                do {
                    return try await store.multi([.set(mark, data: [], version: 0)] + prepared.operations).dropFirst()
                } catch let error as ZooKeeperError {
                    lastError = error
                    switch error.operationIndex {
                    case _ where error.outcome == .unknown: (isUnresolved, wasUnanswered) = (true, true)
                    // No other client knows the mark, so an earlier attempt was applied.
                    case 0? where error.code == .badVersion: return nil
                    case 0? where error.code == .noNode && !wasUnanswered:
                        try await prepared.persistently { _ in try await createMark(mark) }
                    case let index? where index > 0:
                        // The mark had version 0, so no earlier attempt was applied.
                        isUnresolved = false
                        try await prepared.refused(at: index - 1, error)
                    case _ where error.isRetryable: await error.pauseIfRefusedAtOnce(store)
                    default: throw QueueError(error, while: "applying a transaction", queue: path)
                    }
                }
            } while store.now < end
            if !isUnresolved { throw PreparedTransaction.timedOut(lastError) }
        } catch {
            if !isUnresolved {
                // From now on, an attempt that is still on its way is refused.
                if await store.deleteIfPossible(mark, version: 0) == .badVersion { return nil }
                throw error
            }
        }
        throw QueueError(
            .outcomeUnknown,
            "No response arrived, so the transaction may or may not have been applied. Look for its effects to find out.",
            cause: lastError)
    }

    private func createMark(_ mark: String) async throws {
        do {
            try await store.createIfMissing(mark)
        } catch let error as ZooKeeperError where error.code == .noNode {
            try await prepare()
            try await store.createIfMissing(mark)
        }
    }
}
