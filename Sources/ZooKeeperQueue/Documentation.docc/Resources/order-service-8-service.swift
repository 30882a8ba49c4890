import Logging
import ServiceLifecycle
import UnixSignals
import ZooKeeper
import ZooKeeperQueue

@main
struct OrderService {
    static func main() async throws {
        let servers = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:2181"
        let logger = Logger(label: "orders")
        let zookeeper = try ZooKeeperClient(configuration: .init(servers: servers), logger: logger)
        let queue = try MessageQueue(zookeeper, path: "/orders", logger: logger)

        let worker = QueueWorker(QueueConsumer(queue), concurrency: 4, gracePeriod: .seconds(20)) { order in
            logger.info("handled", metadata: ["order": "\(String(decoding: order.payload, as: UTF8.self))"])
        }
        let group = ServiceGroup(
            services: [zookeeper, QueueRecovery(queue), worker, OrderSource(queue: queue)],
            gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
        try await group.run()
    }
}

/// Sends an order each second until the group shuts down.
struct OrderSource: Service {
    let queue: MessageQueue

    func run() async throws {
        let producer = QueueProducer(queue)
        do {
            try await cancelWhenGracefulShutdown {
                for number in 1... {
                    try await producer.send("\(number)", headers: ["currency": "EUR"])
                    // Limits the rate to one order a second.
                    try await Task.sleep(for: .seconds(1))
                }
            }
        } catch is CancellationError {
            // The group shuts down, which ends the loop.
        }
        await producer.close()
    }
}
