import Foundation
import ZooKeeperQueue

/// The leases that clients of one queue hold over HTTP. They belong to the gateway's own session: one that is not extended in
/// time is given back, and when the gateway itself dies, a recovery gives all of them back, as those of any consumer.
actor HTTPLeases {
    struct Lease {
        let message: QueueMessage
        var end: ContinuousClock.Instant
        /// Gives the message back when the time is over.
        let watch: Task<Void, Never>
    }

    private let queue: MessageQueue
    private let maximum: Int
    /// Made when the first message is asked for.
    private var consumer: QueueConsumer?
    private var leases: [String: Lease] = [:]
    /// How many messages those who wait have asked for.
    private var asked = 0
    private var isClosed = false

    init(_ queue: MessageQueue, maximum: Int) {
        self.queue = queue
        self.maximum = maximum
    }

    /// Takes messages, as soon as there is one.
    ///
    /// - Parameters:
    ///   - count: how many at most.
    ///   - wait: how long to wait for the first.
    ///   - duration: how long each is leased.
    /// - Returns: what there was; `nil` when too many are leased or asked for.
    func take(_ count: Int, wait: Duration, for duration: Duration) async throws -> [(
        id: String, message: QueueMessage
    )]? {
        guard !isClosed, leases.count + asked + count <= maximum else { return nil }
        let consumer = consumer ?? Self.consumer(queue)
        self.consumer = consumer
        asked += count
        defer { asked -= count }
        var messages = consumer.makeAsyncIterator()
        guard let first = try await messages.next(within: wait) else { return [] }
        // All at once, so that they are claimed together.
        let rest = try await withThrowingTaskGroup(of: QueueMessage?.self) { group in
            for _ in 1..<count {
                group.addTask {
                    var messages = consumer.makeAsyncIterator()
                    return try await messages.next(within: .zero)
                }
            }
            return try await group.reduce(into: [QueueMessage]()) { if let message = $1 { $0.append(message) } }
        }
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

    private func hold(_ message: QueueMessage, for duration: Duration) -> String {
        // Random, so that nobody guesses it.
        let id = UUID().uuidString.lowercased()
        let watch = Task {
            while let rest = timeLeft(id) {
                if rest <= .zero { return await expire(id) }
                // How long a lease lasts is a length of time.
                try? await Task.sleep(for: rest)
                if Task.isCancelled { return }
            }
        }
        leases[id] = Lease(message: message, end: .now + duration, watch: watch)
        return id
    }

    private func timeLeft(_ id: String) -> Duration? { leases[id].map { ContinuousClock.now.duration(to: $0.end) } }

    private func expire(_ id: String) async {
        guard let lease = leases.removeValue(forKey: id) else { return }
        try? await lease.message.giveBack(reason: "its lease over HTTP has ended")
    }

    func lease(_ id: String) -> QueueMessage? { leases[id]?.message }

    /// - Returns: whether there is such a lease.
    func extend(_ id: String, by duration: Duration) -> Bool {
        guard leases[id] != nil else { return false }
        leases[id]?.end = .now + duration
        return true
    }

    /// The lease was ended.
    func forget(_ id: String) { leases.removeValue(forKey: id)?.watch.cancel() }

    /// Gives everything back.
    func close() async {
        isClosed = true
        let ended = leases.values
        leases = [:]
        for lease in ended { lease.watch.cancel() }
        await consumer?.close(gracePeriod: .zero)
        for lease in ended { await lease.watch.value }
    }
}
