import Logging
import Synchronization
public import ZooKeeper

/// A leased message. No other consumer has it while the lease is held.
///
/// Settle it once: call ``acknowledge(with:)``, ``requeue(after:reason:)`` or ``deadLetter(reason:)``, or let
/// ``process(retry:timeout:cancelsWhenSuspended:_:)`` do it. A message that is dropped without settling it is requeued.
public struct QueueMessage: Sendable {
    private let holder: LeaseHolder
    private var lease: Lease { holder.lease }

    init(lease: Lease, consumer: QueueConsumer) { holder = LeaseHolder(lease: lease, consumer: consumer) }

    /// The bytes that were sent.
    public var payload: [UInt8] { lease.envelope.payload }
    /// The headers that were sent with the payload.
    public var headers: [String: String] { lease.envelope.headers }
    /// The ID that the message was sent with. See ``OutgoingMessage/id``.
    public var id: String? { lease.envelope.id }
    /// The key of the message's group. See ``OutgoingMessage/group``.
    public var group: String? { lease.envelope.sentGroup }
    /// The name of the message's node. Across deliveries only the count at its end changes.
    public var nodeName: String { lease.name.string }
    /// 0…999; a lower number is delivered first.
    public var priority: Int { lease.name.priority }
    /// How often the message was delivered, including this time. Above 1, a handler may have processed it before.
    ///
    /// After a crash, every message that the consumer had claimed counts as delivered, because the recovery cannot tell
    /// which ones reached a handler. Therefore a message that was redelivered twice (once, if
    /// ``QueueAttributes/maximumDeliveries`` is 2) is claimed alone, and only when a caller waits for it. So a message
    /// that crashes its consumer each time does not take other messages to the dead letters.
    public var deliveryCount: Int { lease.name.redeliveries + 1 }
    /// The last failed deliveries, the oldest first: up to ten. A delivery whose consumer crashed leaves no reason.
    public var failures: [DeliveryFailure] { lease.envelope.failures }
    /// From when on the message is expired. See ``OutgoingMessage/expiresAfter``.
    public var expiresAt: EnsembleTime? { lease.envelope.expiresAt }
    /// When the message became ready. Requeueing a message resets this time.
    public var enqueuedAt: EnsembleTime { EnsembleTime(millisecondsSince1970: lease.stat.ctime) }
    /// The fencing token of the lease: a number that only grows across the whole ensemble. Of two leases, the
    /// later one has the larger token. A store that remembers the largest token can refuse a consumer that has
    /// lost its lease without noticing.
    ///
    /// It is the zxid of the transaction that claimed the message.
    public var fencingToken: Int64 { lease.fencingToken }
    /// The current state of the lease.
    public var leaseState: LeaseState { lease.state }
    /// The states of the lease: the current one, and then each change that the caller has time to see.
    ///
    /// ```swift
    /// for await state in message.leaseStates where state == .suspended { pause() }
    /// ```
    ///
    /// The sequence ends after ``LeaseState/lost`` or ``LeaseState/settled``, and when its task is cancelled.
    public var leaseStates: LeaseStates { LeaseStates(lease: lease) }

    /// Removes the message from the queue. It will not be delivered again.
    ///
    /// - Parameter operations: changes to ZooKeeper that are applied atomically with the acknowledgement, so that a
    ///   handler's effect in ZooKeeper happens exactly once.
    /// - Throws: ``QueueError`` with ``QueueError/Code/leaseLost`` when the lease is lost, and nothing was changed;
    ///   ``QueueError/Code/alreadySettled``; ``QueueError/Code/operationRefused`` when ZooKeeper refuses one of
    ///   `operations`; ``QueueError/Code/outcomeUnknown`` when no reply arrived in time, or the session ended first.
    ///   Cancellation has no effect.
    public func acknowledge(with operations: [ZooKeeperOperation] = []) async throws {
        try await holder.settle(by: .acknowledge(.init(operations)))
    }

    /// Removes the message from the queue and applies a transaction: both happen once, or neither does.
    ///
    /// A message of the transaction whose ``OutgoingMessage/id`` was stored before is left out.
    ///
    /// - Parameter transaction: the messages to store in queues of the same client, and changes of other nodes.
    /// - Throws: the same errors as ``acknowledge(with:)``; before anything is sent,
    ///   ``QueueError/Code/invalidArgument``, ``QueueError/Code/payloadTooLarge``, ``QueueError/Code/queueNotFound``,
    ///   ``QueueError/Code/queueFull``, ``QueueError/Code/paused`` or ``QueueError/Code/timedOut``. After these errors,
    ///   the message is still leased. Cancellation has no effect.
    public func acknowledge(in transaction: QueueTransaction) async throws {
        try await holder.acknowledge(in: transaction)
    }

    /// Removes the message from the queue and stores messages in a queue: both happen once, or neither does.
    ///
    /// - Parameters:
    ///   - messages: the messages to store, in their order.
    ///   - queue: a queue of the same client. It may be the message's own.
    ///   - operations: changes of other nodes that happen too.
    /// - Throws: the same errors as ``acknowledge(in:)``.
    public func acknowledge(
        sending messages: [OutgoingMessage], to queue: MessageQueue, with operations: [ZooKeeperOperation] = []
    ) async throws {
        var transaction = QueueTransaction(operations)
        transaction.send(contentsOf: messages, to: queue)
        try await acknowledge(in: transaction)
    }

    /// Requeues the message at its old position, or moves it to the dead letters when it was delivered
    /// ``QueueAttributes/maximumDeliveries`` times.
    ///
    /// - Parameters:
    ///   - delay: how long the queue holds the message back: zero to ten years. In that time it blocks no other
    ///     message. A running ``QueueRecovery`` makes it ready when the delay has passed. Default: zero.
    ///   - reason: is logged, and kept with the message: see ``failures``.
    /// - Throws: the same errors as ``acknowledge(with:)``; ``QueueError/Code/invalidArgument`` for an invalid delay,
    ///   before anything is sent.
    public func requeue(after delay: Duration = .zero, reason: String? = nil) async throws {
        try Delivery.validate(delay)
        try await holder.settle(by: .requeue(reason: reason, delay: delay))
    }

    /// Moves the message to the dead letters. Its payload stays intact.
    ///
    /// - Parameter reason: is stored as the data of the dead letter's child `cause`.
    /// - Throws: the same errors as ``acknowledge(with:)``.
    public func deadLetter(reason: String) async throws {
        try await holder.settle(by: .deadLetter(reason: reason))
    }

    /// Runs `body` and settles the message: acknowledges it when `body` returns, and requeues it when `body` throws. A
    /// message that `body` has settled itself stays as it is. When `body` throws ``RejectedMessage``, the message moves
    /// to the dead letters.
    ///
    /// The task of `body` is cancelled when the lease is lost, when the message is settled, when the time limit is
    /// reached, or when the surrounding task is cancelled. When `body` throws after the cancellation of the surrounding
    /// task, the message is returned without counting the delivery, as at the end of a consumer's grace period.
    ///
    /// A message that is requeued comes back after the delay of the retry policy.
    ///
    /// - Parameters:
    ///   - retry: the retry policy. Default: the queue's ``QueueAttributes/retry``.
    ///   - timeout: how long `body` may take before its task is cancelled. If it has not ended five seconds later, the
    ///     message is requeued although `body` still runs. This method waits for `body` in any case, because its task
    ///     cannot be stopped by force. The ``fencingToken`` protects a store from what it does then. Default: no limit.
    ///   - cancelsWhenSuspended: whether to cancel `body` as soon as the lease is suspended, which is before any other
    ///     consumer can claim the message.
    ///   - body: processes the message.
    /// - Returns: the result of `body`, once the message is acknowledged.
    /// - Throws: the error of `body`, ``QueueError`` with ``QueueError/Code/handlerTimedOut``, or the same errors as
    ///   ``acknowledge(with:)``.
    public func process<Result: Sendable>(
        retry: RetryPolicy? = nil, timeout: Duration? = nil, cancelsWhenSuspended: Bool = false,
        _ body: @escaping @Sendable (QueueMessage) async throws -> Result
    ) async throws -> Result {
        try await process(retry: retry, timeout: timeout, cancelsWhenSuspended: cancelsWhenSuspended, job: nil, body)
    }

    /// - Parameter job: the name of the job that the message is, for traces.
    package func process<Result: Sendable>(
        retry: RetryPolicy?, timeout: Duration?, cancelsWhenSuspended: Bool = false, job: String?,
        _ body: @escaping @Sendable (QueueMessage) async throws -> Result
    ) async throws -> Result {
        try retry?.validate()
        let queue = holder.consumer.queue
        let start = queue.metrics.isEnabled ? ContinuousClock.now : nil
        defer { if let start { queue.metrics.handlerDuration.record(start.duration(to: .now)) } }
        guard let tracing = queue.tracing else {
            return try await settle(retry, timeout, cancelsWhenSuspended, body)
        }
        return try await tracing.process(self, job: job) {
            try await settle(retry, timeout, cancelsWhenSuspended, body)
        }
    }

    private func settle<Result: Sendable>(
        _ retry: RetryPolicy?, _ timeout: Duration?, _ cancelsWhenSuspended: Bool,
        _ body: @escaping @Sendable (QueueMessage) async throws -> Result
    ) async throws -> Result {
        let run = HandlerRun(self, limit: timeout, retry: retry)
        let outcome = await run.outcome(of: body, cancelsWhenSuspended: cancelsWhenSuspended)
        switch outcome {
        case .success where run.wasRequeued: throw run.timedOutError
        case .success(let result):
            if !holder.isSettledByCaller { try await acknowledge() }
            return result
        case .failure(let error):
            let reported = run.hasTimedOut ? run.timedOutError : error
            // The settlement fails when the handler has settled the message itself, or when the lease is lost. Then
            // there is nothing to requeue.
            let reason = run.hasTimedOut ? run.timedOutError.message : FailureReason.requeue(after: error)
            let kind: Settlement.Kind =
                if let rejected = error as? RejectedMessage {
                    .deadLetter(reason: rejected.reason)
                } else if Task.isCancelled {
                    .release
                } else {
                    await holder.failure(reason, retry)
                }
            try? await holder.consumer.settle(lease, by: kind)
            if leaseState == .lost { throw Lease.lostError }
            throw reported
        }
    }

    /// Requeues the message of a handler that goes on although its time is over.
    func requeueUnended(reason: String, retry: RetryPolicy?) async -> Bool {
        do {
            try await holder.consumer.settle(lease, by: await holder.failure(reason, retry))
            holder.consumer.queue.logger.warning(
                "A handler ignores its cancellation",
                metadata: ["message": "\(nodeName)", "deliveryCount": "\(deliveryCount)", "reason": "\(reason)"])
            return true
        } catch {
            // The handler has settled the message itself, or the lease is lost.
            return false
        }
    }

    var metrics: QueueMetrics { holder.consumer.queue.metrics }
    func untilLost(orSuspended: Bool) async { await lease.untilLost(orSuspended: orSuspended) }
    func sleep(for duration: Duration) async throws { try await holder.consumer.queue.store.sleep(for: duration) }
}

/// Requeues the message when its last copy is dropped without settling it.
private final class LeaseHolder: Sendable {
    let lease: Lease
    let consumer: QueueConsumer

    init(lease: Lease, consumer: QueueConsumer) {
        self.lease = lease
        self.consumer = consumer
    }

    /// Whether a caller has settled the message, rather than the consumer at its end.
    private let settledByCaller = Atomic(false)
    var isSettledByCaller: Bool { settledByCaller.load(ordering: .relaxed) }

    func settle(by kind: Settlement.Kind) async throws {
        try await consumer.settle(lease, by: kind)
        settledByCaller.store(true, ordering: .relaxed)
    }

    func acknowledge(in transaction: QueueTransaction) async throws {
        try await consumer.acknowledge(lease, in: transaction)
        settledByCaller.store(true, ordering: .relaxed)
    }

    /// Returns the settlement of a failed delivery.
    func failure(_ reason: String, _ retry: RetryPolicy?) async -> Settlement.Kind {
        await consumer.failure(of: lease, reason, retry)
    }

    deinit {
        guard lease.state == .held || lease.state == .suspended else { return }
        let (lease, consumer) = (lease, consumer)
        // An unstructured task, because a deinitializer cannot wait. The consumer's `close()`
        // waits for its settlements.
        Task {
            let kind = await consumer.failure(of: lease, "the message was dropped without being settled", nil)
            await consumer.settleWithRetry(on: kind, for: lease)
        }
    }
}

extension Lease {
    fileprivate func untilLost(orSuspended: Bool) async {
        for await state in LeaseStates(lease: self) where orSuspended && state == .suspended { return }
    }
}
