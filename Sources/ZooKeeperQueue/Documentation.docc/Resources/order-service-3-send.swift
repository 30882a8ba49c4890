import Logging
import ZooKeeper
import ZooKeeperQueue

@main
struct OrderService {
    static func main() async throws {
        let servers = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:2181"
        let logger = Logger(label: "orders")
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers), logger: logger) { zookeeper in
            let queue = try MessageQueue(zookeeper, path: "/orders", logger: logger)
            try await queue.createIfNeeded(.init(maximumDeliveries: 5))

            let producer = QueueProducer(queue)
            try await producer.send("42", headers: ["currency": "EUR"])
            await producer.close()
            print("Ready orders: \(try await queue.statistics().ready)")
        }
    }
}
