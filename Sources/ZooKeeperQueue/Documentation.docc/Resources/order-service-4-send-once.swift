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
            for number in 42...44 {
                let order = OutgoingMessage("\(number)", headers: ["currency": "EUR"], id: "order-\(number)")
                let receipt = try await producer.send(order)
                print(receipt.isDuplicate ? "Order \(number) was stored before." : "Order \(number) is stored.")
            }
            await producer.close()
        }
    }
}
