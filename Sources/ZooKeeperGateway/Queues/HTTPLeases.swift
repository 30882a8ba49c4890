import ZooKeeper
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The leases that HTTP clients hold on one queue.
///
/// The leases belong to the gateway's session. The gateway requeues a message whose lease its client does not extend in
/// time. When the gateway dies, a recovery redelivers all of the messages, as it does for any consumer.
actor HTTPLeases {
    struct Lease {
        let message: QueueMessage
        let expiresAt: ContinuousClock.Instant
        /// Requeues the message when the lease expires.
        let expiry: Task<Void, Never>
    }

    private let queue: MessageQueue
    private let maximum: Int
    /// How long the queue may take to answer, beyond the time that the client wants to wait.
    private let responseTimeout: Duration
    /// Created at the first request for messages.
    private var consumer: QueueConsumer?
    private var leases: [ExactString: Lease] = [:]
    /// The number of messages that the pending requests have requested.
    private var requested = 0
    private var pending: [UUID: Task<QueueMessage?, any Error>] = [:]
    private var isClosed = false
    private var lastDelivery: ContinuousClock.Instant?

    init(_ queue: MessageQueue, maximum: Int, responseTimeout: Duration) {
        self.queue = queue
        self.maximum = maximum
        self.responseTimeout = responseTimeout
    }

    /// Whether the queue has neither a lease nor a pending request.
    var isIdle: Bool {
        prune()
        return leases.isEmpty && requested == 0
    }

    // MARK: Leasing messages

    /// Whether a client received a message within the last five seconds.
    var isActive: Bool { lastDelivery.map { $0.duration(to: .now) < .seconds(5) } ?? false }

    /// Leases messages as soon as there is one.
    ///
    /// - Parameters:
    ///   - count: the maximum number of messages.
    ///   - wait: how long to wait for the first message.
    ///   - duration: how long each lease lasts.
    /// - Returns: the leased messages, which can be none; `nil` when their number would exceed the limit, or when the
    ///   gateway is shutting down.
    /// - Throws: `CancellationError` when the task is cancelled, and then requeues the messages that the consumer has
    ///   returned by then.
    func lease(_ count: Int, wait: Duration, for duration: Duration) async throws -> [(
        id: String, message: QueueMessage
    )]? {
        prune()
        guard !isClosed, leases.count + requested + count <= maximum else { return nil }
        let consumer = consumer ?? Self.consumer(queue)
        self.consumer = consumer
        requested += count
        defer { requested -= count }
        guard let first = try await next(of: consumer, within: wait) else { return [] }
        // Requests the messages at the same time, so that the consumer claims them together. Errors are ignored here,
        // because the next request meets them again.
        let rest = await withTaskGroup(of: QueueMessage?.self) { group in
            for _ in 1..<count { group.addTask { try? await self.next(of: consumer, within: .zero) } }
            var messages: [QueueMessage] = []
            for await case let message? in group { messages.append(message) }
            return messages
        }
        try Task.checkCancellation()
        lastDelivery = .now
        let messages =
            [first]
            + rest.sorted { ($0.fencingToken, $0.priority, $0.nodeName) < ($1.fencingToken, $1.priority, $1.nodeName) }
        return messages.map { (add($0, for: duration), $0) }
    }

    /// Creates a consumer that claims no more than was requested, because prefetched messages are unavailable to other
    /// consumers.
    private static func consumer(_ queue: MessageQueue) -> QueueConsumer {
        var configuration = QueueConsumer.Configuration()
        configuration.pullsOnDemand = true
        return QueueConsumer(queue, configuration: configuration)
    }

    /// Returns the next message. The wait also ends when the gateway shuts down, and when the ensemble does not answer
    /// in time.
    private func next(of consumer: QueueConsumer, within wait: Duration) async throws -> QueueMessage? {
        if isClosed { return nil }
        let id = UUID()
        let request = Task {
            var messages = consumer.makeAsyncIterator()
            return try await messages.next(within: wait)
        }
        // A timer is needed, because no event says that no response comes.
        let timer = Task { [responseTimeout] in
            try await Task.sleep(for: wait + responseTimeout)
            request.cancel()
        }
        pending[id] = request
        defer {
            pending[id] = nil
            timer.cancel()
        }
        return try await withTaskCancellationHandler {
            try await request.value
        } onCancel: {
            request.cancel()
        }
    }

    // MARK: Active leases

    private func add(_ message: QueueMessage, for duration: Duration) -> String {
        // Random, so that other clients cannot guess it.
        let id = UUID().uuidString.lowercased()
        setExpiry(of: message, id, after: duration)
        return id
    }

    private func setExpiry(of message: QueueMessage, _ id: String, after duration: Duration) {
        let expiry = Task {
            // A lease expires by time, and no event announces that.
            guard (try? await Task.sleep(for: duration)) != nil else { return }
            await expire(id)
        }
        leases[ExactString(id)] = Lease(message: message, expiresAt: .now + duration, expiry: expiry)
    }

    private func expire(_ id: String) async {
        // The client may have extended the lease at the same moment.
        guard let lease = leases[ExactString(id)], lease.expiresAt <= .now else { return }
        leases[ExactString(id)] = nil
        try? await lease.message.requeue(reason: "the lease over HTTP expired")
    }

    /// Removes the leases that were settled, or were lost with the gateway's session.
    private func prune() {
        for (id, lease) in leases where [.lost, .settled].contains(lease.message.leaseState) { remove(id.string) }
    }

    func lease(_ id: String) -> QueueMessage? { leases[ExactString(id)]?.message }

    /// Extends a lease to `duration` from now.
    ///
    /// - Returns: whether the lease exists.
    func extend(_ id: String, by duration: Duration) -> Bool {
        guard let lease = leases[ExactString(id)] else { return false }
        lease.expiry.cancel()
        setExpiry(of: lease.message, id, after: duration)
        return true
    }

    func remove(_ id: String) { leases.removeValue(forKey: ExactString(id))?.expiry.cancel() }

    // MARK: Closing

    /// Stops leasing messages. Pending requests get none.
    func stop() {
        isClosed = true
        for request in pending.values { request.cancel() }
    }

    /// Requeues every leased message.
    func close() async {
        stop()
        let ended = leases.values
        leases = [:]
        for lease in ended { lease.expiry.cancel() }
        await consumer?.close(gracePeriod: .zero)
        for lease in ended { await lease.expiry.value }
    }
}
