import Logging
import ZooKeeper
import ZooKeeperQueue

/// The queues of an endpoint that were asked for, each with a producer, and the leases of its clients.
actor HTTPQueues {
    struct Member: Sendable {
        let queue: MessageQueue
        let producer: QueueProducer
        let leases: HTTPLeases
    }

    private let client: ZooKeeperClient
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private var members: [String: Member] = [:]
    private var isClosed = false

    init(_ client: ZooKeeperClient, _ configuration: GatewayConfiguration, logger: Logger) {
        self.client = client
        self.configuration = configuration
        self.logger = logger
    }

    /// - Returns: `nil` when there are too many, or this is the end.
    /// - Throws: ``QueueError`` for a path that is none.
    func member(_ path: String) throws -> Member? {
        if let member = members[path] { return member }
        // Producers make a queue where there is none; who only looks or takes does not.
        let queue = try MessageQueue(client, path: path, logger: logger)
        let existing = try MessageQueue(client, path: path, settings: .init(createsQueue: false), logger: logger)
        guard !isClosed, members.count < configuration.maximumQueues else { return nil }
        let member = Member(
            queue: existing, producer: QueueProducer(queue, sendTimeout: configuration.answerTimeout),
            leases: HTTPLeases(existing, maximum: configuration.maximumLeases))
        members[path] = member
        return member
    }

    /// The queues that were asked for, and those right below the root.
    func paths(_ endpoint: Endpoint) async throws -> [String] {
        var paths = Set(members.keys)
        let names = try await client.children(of: "/", timeout: endpoint.patience(client)).names.sorted().prefix(1_000)
        let items = try await client.get(names.map { "/\($0)/items" }, timeout: endpoint.patience(client))
        for (name, node) in zip(names, items) where node != nil { paths.insert("/" + name) }
        // One that was asked for need not be there.
        let all = paths.sorted()
        let found = try await client.get(all.map { $0 + "/items" }, timeout: endpoint.patience(client))
        return zip(all, found).compactMap { $1 == nil ? nil : $0 }
    }

    /// Of the queues that were asked for, and are there.
    func statistics() async -> [(path: String, statistics: QueueStatistics)] {
        var all: [(path: String, statistics: QueueStatistics)] = []
        for (path, member) in members.sorted(by: { $0.key < $1.key }) {
            if let statistics = try? await member.queue.statistics() { all.append((path, statistics)) }
        }
        return all
    }

    /// Gives back what is leased, and removes producers' lanes.
    func close() async {
        isClosed = true
        await withTaskGroup(of: Void.self) { group in
            for member in members.values {
                group.addTask {
                    await member.leases.close()
                    await member.producer.close()
                }
            }
        }
    }
}
