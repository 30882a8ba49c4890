import Logging
import ZooKeeper
import ZooKeeperQueue

/// The queues of an endpoint into which something is sent, or from which something is leased: each with a producer, and the leases
/// of its clients.
actor HTTPQueues {
    struct Member: Sendable {
        let producer: QueueProducer
        let leases: HTTPLeases

        func close() async {
            await leases.close()
            await producer.close()
        }
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

    /// A queue to look at. It is not made where there is none.
    ///
    /// - Throws: ``QueueError`` for a path that is none.
    nonisolated func queue(_ path: String) throws -> MessageQueue {
        try MessageQueue(client, path: path, settings: .init(createsQueue: false), logger: logger)
    }

    /// - Returns: `nil` when there are too many at work, or this is the end.
    /// - Throws: ``QueueError`` for a path that is none.
    func member(_ path: String) async throws -> Member? {
        if let member = members[path] { return member }
        let existing = try queue(path)
        // Producers make a queue where there is none; who takes does not.
        let queue = try MessageQueue(client, path: path, logger: logger)
        if members.count >= configuration.maximumQueues { await makeRoom() }
        if let member = members[path] { return member }
        guard !isClosed, members.count < configuration.maximumQueues else { return nil }
        let member = Member(
            producer: QueueProducer(queue, sendTimeout: configuration.answerTimeout),
            leases: HTTPLeases(
                existing, maximum: configuration.maximumLeases, patience: configuration.answerTimeout))
        members[path] = member
        return member
    }

    /// Lets a queue go of which nothing is leased. A send that is under way ends first.
    private func makeRoom() async {
        for (path, member) in members where await member.leases.isIdle {
            guard members.removeValue(forKey: path) != nil else { continue }
            return await member.close()
        }
    }

    /// The leases of a queue, if there are any.
    func leases(_ path: String) -> HTTPLeases? { members[path]?.leases }

    /// The queues that are at work, and those right below the root.
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

    /// Of the queues that are at work, and are there; of none while no server is connected.
    func statistics() async -> [(path: String, statistics: QueueStatistics)] {
        var all: [(path: String, statistics: QueueStatistics)] = []
        for path in members.keys.sorted() where client.sessionState.phase == .connected {
            if let statistics = try? await queue(path).statistics() { all.append((path, statistics)) }
        }
        return all
    }

    /// Those who wait for messages get none any more.
    func stop() async {
        for member in members.values { await member.leases.stop() }
    }

    /// Gives back what is leased, and removes producers' lanes.
    func close() async {
        isClosed = true
        await withTaskGroup(of: Void.self) { group in
            for member in members.values { group.addTask { await member.close() } }
        }
    }
}
