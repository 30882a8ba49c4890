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
            services: [zookeeper, QueueRecovery(queue), worker],
            gracefulShutdownSignals: [.sigint, .sigterm], logger: logger)
        try await group.run()
    }
}
