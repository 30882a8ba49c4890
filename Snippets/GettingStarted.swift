// The first program of the article Getting started.
// snippet.first-steps
import ZooKeeper
import ZooKeeperQueue

try await ZooKeeperClient.withClient(configuration: .init(servers: "127.0.0.1:2181")) { zookeeper in
    let queue = try MessageQueue(zookeeper, path: "/orders")
    try await queue.createIfNeeded(.init(maximumDeliveries: 5))

    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await QueueRecovery(queue).run() }

        let producer = QueueProducer(queue)
        let receipt = try await producer.send("order 42", headers: ["currency": "EUR"])
        print("Stored as", receipt.nodeName ?? "-")
        await producer.close()

        try await queue.withConsumer { orders in
            for try await order in orders {
                print("Received", String(decoding: order.payload, as: UTF8.self), "delivery", order.deliveryCount)
                try await order.acknowledge()
                break
            }
        }
        group.cancelAll()
    }
}
// snippet.end
