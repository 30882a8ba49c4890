import CoreMetrics
import Logging
import ZooKeeper
import ZooKeeperQueue

/// The queues that an endpoint serves for sends and leases. Each has a producer, and the leases of its clients.
actor HTTPQueues {
    struct ServedQueue: Sendable {
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
    private let metrics: any MetricsFactory
    /// The served queues by path.
    private var served: [ExactString: ServedQueue] = [:]
    private var isClosed = false

    init(_ client: ZooKeeperClient, _ configuration: GatewayConfiguration, logger: Logger, metrics: any MetricsFactory)
    {
        self.client = client
        self.configuration = configuration
        self.logger = logger
        self.metrics = metrics
    }

    /// Returns a queue that is not created when it is missing.
    ///
    /// - Throws: ``QueueError`` for an invalid path.
    nonisolated func queue(_ path: String) throws -> MessageQueue {
        // Without metrics, because a request can name any path.
        try MessageQueue(
            client, path: path, createIfMissing: false, logger: logger, metricsFactory: NOOPMetricsHandler.instance)
    }

    /// Returns a served queue. Begins to serve the queue when necessary.
    ///
    /// - Returns: `nil` when the gateway serves too many queues already, or is shutting down.
    /// - Throws: ``QueueError`` for an invalid path.
    func servedQueue(_ path: String) async throws -> ServedQueue? {
        let key = ExactString(path)
        if let queue = served[key] { return queue }
        let existing = try MessageQueue(
            client, path: path, createIfMissing: false, logger: logger, metricsFactory: metrics)
        // A producer creates a missing queue, but a consumer does not.
        let created = try MessageQueue(client, path: path, logger: logger, metricsFactory: metrics)
        if served.count >= configuration.maximumQueues { await evictIdleQueue() }
        if let queue = served[key] { return queue }
        guard !isClosed, served.count < configuration.maximumQueues else { return nil }
        let queue = ServedQueue(
            producer: QueueProducer(created, configuration: .init(sendTimeout: configuration.responseTimeout)),
            leases: HTTPLeases(
                existing, maximum: configuration.maximumLeases, responseTimeout: configuration.responseTimeout))
        served[key] = queue
        return queue
    }

    /// Stops serving one queue that has neither a lease nor a pending request. A send that is in progress finishes
    /// first.
    private func evictIdleQueue() async {
        for (path, queue) in served where await queue.leases.isIdle {
            guard served.removeValue(forKey: path) != nil else { continue }
            return await queue.close()
        }
    }

    /// Returns the leases of a queue; `nil` when the gateway does not serve the queue.
    func leases(_ path: String) -> HTTPLeases? { served[ExactString(path)]?.leases }

    /// Returns the paths of the served queues, and of the first 1,000 directly below the root, as far as the queues
    /// exist.
    func paths(_ endpoint: Endpoint) async throws -> [String] {
        let timeout = endpoint.timeout(for: client)
        var paths = Set(served.keys)
        do {
            let names = try await client.children(of: "/", timeout: timeout).names
            paths.formUnion(names.map { ExactString("/" + $0) }.sorted().prefix(1_000))
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // The gateway may lack the permission to list the root. The served queues are listed all the same.
        }
        var found: [String] = []
        var remaining = paths.sorted()[...]
        while !remaining.isEmpty {
            found += try await queues(at: remaining.prefix(Self.readBatchSize), timeout)
            remaining = remaining.dropFirst(Self.readBatchSize)
        }
        return found
    }

    private static let readBatchSize = 100

    /// Returns the paths at which there is a queue, in order. Reads only metadata, which no access control list
    /// protects.
    ///
    /// - Throws: an error when no path can be checked. A single failure is ignored.
    private func queues(at paths: some Sequence<ExactString>, _ timeout: Duration) async throws -> [String] {
        let results = await withTaskGroup(of: (ExactString, Result<Bool, any Error>).self) { [client] group in
            for path in paths {
                group.addTask {
                    do {
                        let items = try await client.exists(path.string + "/items", timeout: timeout)
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
            case .success(let exists): if exists { found.append(path) }
            case .failure(let error): failures.append(error)
            }
        }
        if failures.count == results.count, let failure = failures.first { throw failure }
        return found.sorted().map(\.string)
    }

    /// Returns the statistics of the served queues that exist; of none while no server is connected.
    ///
    /// - Returns: `nil` as the statistics of a queue whose messages cannot be counted.
    func statistics() async -> [(path: String, statistics: QueueStatistics?)] {
        var all: [(path: String, statistics: QueueStatistics?)] = []
        for path in served.keys.sorted().map(\.string) where client.sessionState.phase == .connected {
            do {
                all.append((path, try await queue(path).statistics()))
            } catch let error as QueueError where error.code == .queueNotFound {
                // A client requested this queue, but it does not exist.
            } catch {
                all.append((path, nil))
            }
        }
        return all
    }

    /// Ends the pending requests for messages without a message.
    func stop() async {
        for queue in served.values { await queue.leases.stop() }
    }

    /// Requeues the leased messages, and removes the producers' nodes.
    func close() async {
        isClosed = true
        await withTaskGroup(of: Void.self) { group in
            for queue in served.values { group.addTask { await queue.close() } }
        }
    }
}
