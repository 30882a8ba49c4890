import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

struct OrderTests {
    struct OutOfStock: Error {}

    /// Stands for the service's own handler.
    @Sendable func handle(_ order: QueueMessage) async throws {
        if order.deliveryCount == 1 { throw OutOfStock() }
    }

    @Test("An order whose handler throws is delivered again")
    func handlerThrows() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect(), path: "/orders")
        try await QueueProducer(queue).send("42")
        try await queue.withConsumer { orders in
            for try await order in orders {
                do {
                    try await order.process(handle)
                    break
                } catch is OutOfStock {
                    #expect(order.deliveryCount == 1)
                }
            }
        }
        #expect(try await queue.statistics().ready == 0)
    }

    @Test("An order comes back when the session of its consumer ends")
    func consumerFails() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect(), path: "/orders")
        try await QueueProducer(queue).send("42")

        let failing = zookeeper.connect()
        var orders = QueueConsumer(try MessageQueue(store: failing, path: "/orders")).makeAsyncIterator()
        let first = try #require(try await orders.next())
        failing.close()
        #expect(try await QueueRecovery(queue).recover().redelivered == 1)

        try await queue.withConsumer { orders in
            for try await order in orders {
                #expect(order.nodeName != first.nodeName && order.payload == first.payload)
                #expect(order.deliveryCount == 2)
                try await order.acknowledge()
                break
            }
        }
    }
}
