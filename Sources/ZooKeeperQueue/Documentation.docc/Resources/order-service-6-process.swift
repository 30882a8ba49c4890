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

            try await queue.withConsumer { orders in
                for try await order in orders {
                    guard let number = Int(String(decoding: order.payload, as: UTF8.self)) else {
                        try await order.deadLetter(reason: "The payload is not an order number.")
                        continue
                    }
                    do {
                        try await order.process { order in
                            print("Order \(number), delivery \(order.deliveryCount)")
                        }
                    } catch {
                        logger.warning("An order failed", metadata: ["order": "\(number)", "error": "\(error)"])
                    }
                }
            }
        }
    }
}
