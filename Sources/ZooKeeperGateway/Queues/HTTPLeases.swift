import ZooKeeper
import ZooKeeperQueue

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The leases that clients of one queue hold over HTTP. They belong to the gateway's own session: one that is not extended in
/// time is given back, and when the gateway itself dies, a recovery gives all of them back, as those of any consumer.
actor HTTPLeases {
    struct Lease {
        let message: QueueMessage
        let end: ContinuousClock.Instant
        /// Gives the message back when the time is over.
        let watch: Task<Void, Never>
    }

    private let queue: MessageQueue
    private let maximum: Int
    /// How long a look through the queue may take.
    private let patience: Duration
    /// Made when the first message is asked for.
    private var consumer: QueueConsumer?
    private var leases: [ExactString: Lease] = [:]
    /// How many messages those who wait have asked for.
    private var asked = 0
    private var waits: [UUID: Task<QueueMessage?, any Error>] = [:]
    private var isClosed = false
    private var lastTaken: ContinuousClock.Instant?

    init(_ queue: MessageQueue, maximum: Int, patience: Duration) {
        self.queue = queue
        self.maximum = maximum
        self.patience = patience
    }

    /// Whether nobody holds or waits for anything.
    var isIdle: Bool {
        prune()
        return leases.isEmpty && asked == 0
    }

    // MARK: Taking

    /// Whether somebody has got a message within the last seconds.
    var isTaking: Bool { lastTaken.map { $0.duration(to: .now) < .seconds(5) } ?? false }

    /// Takes messages, as soon as there is one.
    ///
    /// - Parameters:
    ///   - count: how many at most.
    ///   - wait: how long to wait for the first.
    ///   - duration: how long each is leased.
    /// - Returns: what there was; `nil` when too many are leased or asked for.
    /// - Throws: `CancellationError` when the task is cancelled; what was taken by then goes back.
    func take(_ count: Int, wait: Duration, for duration: Duration) async throws -> [(
        id: String, message: QueueMessage
    )]? {
        prune()
        guard !isClosed, leases.count + asked + count <= maximum else { return nil }
        let consumer = consumer ?? Self.consumer(queue)
        self.consumer = consumer
        asked += count
        defer { asked -= count }
        guard let first = try await next(of: consumer, within: wait) else { return [] }
        // All at once, so that they are claimed together. What fails now fails again with the next request.
        let rest = await withTaskGroup(of: QueueMessage?.self) { group in
            for _ in 1..<count { group.addTask { try? await self.next(of: consumer, within: .zero) } }
            var messages: [QueueMessage] = []
            for await case let message? in group { messages.append(message) }
            return messages
        }
        try Task.checkCancellation()
        lastTaken = .now
        let taken =
            [first] + rest.sorted { ($0.fencingToken, $0.priority, $0.name) < ($1.fencingToken, $1.priority, $1.name) }
        return taken.map { (hold($0, for: duration), $0) }
    }

    /// It takes no more than was asked for: what is taken in advance is kept from others.
    private static func consumer(_ queue: MessageQueue) -> QueueConsumer {
        var configuration = ConsumerConfiguration()
        configuration.takesOnDemand = true
        return QueueConsumer(queue, configuration: configuration)
    }

    /// Ends also when the gateway does, and when the ensemble does not answer.
    private func next(of consumer: QueueConsumer, within wait: Duration) async throws -> QueueMessage? {
        if isClosed { return nil }
        let id = UUID()
        let waiting = Task {
            var messages = consumer.makeAsyncIterator()
            return try await messages.next(within: wait)
        }
        // A time limit: that no answer comes is no event.
        let limit = Task { [patience] in
            try await Task.sleep(for: wait + patience)
            waiting.cancel()
        }
        waits[id] = waiting
        defer {
            waits[id] = nil
            limit.cancel()
        }
        return try await withTaskCancellationHandler {
            try await waiting.value
        } onCancel: {
            waiting.cancel()
        }
    }

    // MARK: Holding

    private func hold(_ message: QueueMessage, for duration: Duration) -> String {
        // Random, so that nobody guesses it.
        let id = UUID().uuidString.lowercased()
        keep(message, as: id, for: duration)
        return id
    }

    private func keep(_ message: QueueMessage, as id: String, for duration: Duration) {
        let watch = Task {
            // How long a lease lasts is a length of time.
            guard (try? await Task.sleep(for: duration)) != nil else { return }
            await expire(id)
        }
        leases[ExactString(id)] = Lease(message: message, end: .now + duration, watch: watch)
    }

    private func expire(_ id: String) async {
        // It may have been extended in the same moment.
        guard let lease = leases[ExactString(id)], lease.end <= .now else { return }
        leases[ExactString(id)] = nil
        try? await lease.message.giveBack(reason: "its lease over HTTP has ended")
    }

    /// Forgets what was lost with the gateway's session, or has ended otherwise.
    private func prune() {
        for (id, lease) in leases where [.lost, .settled].contains(lease.message.state) { forget(id.string) }
    }

    func lease(_ id: String) -> QueueMessage? { leases[ExactString(id)]?.message }

    /// From now on it lasts so long.
    ///
    /// - Returns: whether there is such a lease.
    func extend(_ id: String, by duration: Duration) -> Bool {
        guard let lease = leases[ExactString(id)] else { return false }
        lease.watch.cancel()
        keep(lease.message, as: id, for: duration)
        return true
    }

    func forget(_ id: String) { leases.removeValue(forKey: ExactString(id))?.watch.cancel() }

    // MARK: The end

    /// Takes no more messages: those who wait get none.
    func stop() {
        isClosed = true
        for waiting in waits.values { waiting.cancel() }
    }

    /// Gives everything back.
    func close() async {
        stop()
        let ended = leases.values
        leases = [:]
        for lease in ended { lease.watch.cancel() }
        await consumer?.close(gracePeriod: .zero)
        for lease in ended { await lease.watch.value }
    }
}
