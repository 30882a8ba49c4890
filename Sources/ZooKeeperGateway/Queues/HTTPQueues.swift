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
    /// By their paths.
    private var members: [ExactString: Member] = [:]
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
        let key = ExactString(path)
        if let member = members[key] { return member }
        let existing = try queue(path)
        // Producers make a queue where there is none; who takes does not.
        let queue = try MessageQueue(client, path: path, logger: logger)
        if members.count >= configuration.maximumQueues { await makeRoom() }
        if let member = members[key] { return member }
        guard !isClosed, members.count < configuration.maximumQueues else { return nil }
        let member = Member(
            producer: QueueProducer(queue, sendTimeout: configuration.answerTimeout),
            leases: HTTPLeases(
                existing, maximum: configuration.maximumLeases, patience: configuration.answerTimeout))
        members[key] = member
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
    func leases(_ path: String) -> HTTPLeases? { members[ExactString(path)]?.leases }

    /// The queues that are at work, and those directly below the root, if they exist.
    func paths(_ endpoint: Endpoint) async throws -> [String] {
        let patience = endpoint.patience(client)
        var paths = Set(members.keys)
        do {
            let names = try await client.children(of: "/", timeout: patience).names
            paths.formUnion(names.map { ExactString("/" + $0) }.sorted().prefix(1_000))
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // The gateway may not list the root, which does not affect the queues that are at work.
        }
        var found: [String] = []
        var rest = paths.sorted()[...]
        while !rest.isEmpty {
            found += try await queues(at: rest.prefix(Self.askedAtOnce), patience)
            rest = rest.dropFirst(Self.askedAtOnce)
        }
        return found
    }

    private static let askedAtOnce = 100

    /// Returns the paths at which there is a queue, in order. Reads only metadata, which no access control list
    /// protects.
    ///
    /// - Throws: when no path can be checked. A single failure is passed over.
    private func queues(at paths: some Sequence<ExactString>, _ patience: Duration) async throws -> [String] {
        let results = await withTaskGroup(of: (ExactString, Result<Bool, any Error>).self) { [client] group in
            for path in paths {
                group.addTask {
                    do {
                        let items = try await client.exists(path.string + "/items", timeout: patience)
                        return (path, .success(items != nil))
                    } catch {
                        return (path, .failure(error))
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        var found: [ExactString] = []
        var failures: [any Error] = []
        for (path, result) in results {
            switch result {
            case .success(let isThere): if isThere { found.append(path) }
            case .failure(let error): failures.append(error)
            }
        }
        if failures.count == results.count, let failure = failures.first { throw failure }
        return found.sorted().map(\.string)
    }

    /// Of the queues that are at work, and are there; of none while no server is connected.
    ///
    /// - Returns: no statistics for a queue whose counts cannot be read.
    func statistics() async -> [(path: String, statistics: QueueStatistics?)] {
        var all: [(path: String, statistics: QueueStatistics?)] = []
        for path in members.keys.sorted().map(\.string) where client.sessionState.phase == .connected {
            do {
                all.append((path, try await queue(path).statistics()))
            } catch let error as QueueError where error.code == .queueMissing {
                // The queue was requested and does not exist.
            } catch {
                all.append((path, nil))
            }
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
