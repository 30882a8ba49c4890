import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The wait queue of idle consumers, in virtual time.
struct WaitQueueScheduleTests {
    /// The first position belongs to a live session that claims no messages.
    @Test("A consumer receives a message within eleven seconds when the first consumer in the wait queue hangs")
    func firstConsumerHangs() throws {
        let simulation = Simulation(.fixed)
        let delay = try simulation.run { [zookeeper = simulation.zookeeper] in
            let other = zookeeper.connect("other")
            let queue = try MessageQueue(store: other)
            let producer = QueueProducer(queue)
            try await producer.send("first")
            let position = "/queue/idle/0000000000000000000-consumer-other"
            _ = try await other.create(position, data: [], mode: .ephemeral)
            let consumer = QueueConsumer(try MessageQueue(store: zookeeper.connect("consumer")))
            var messages = consumer.makeAsyncIterator()
            try await messages.next()?.acknowledge()
            async let next = messages.next()
            // Long enough for the consumer to join the wait queue.
            try await other.sleep(for: .seconds(30))
            let start = other.now
            try await producer.send("second")
            try await next?.acknowledge()
            let delay = other.now - start
            await producer.close()
            await consumer.close()
            return delay
        }
        #expect(delay <= .seconds(11))
    }
}
