import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

struct WaitQueueScheduleTests {
    /// The first place in the line belongs to a session that lives and takes nothing: the second looks for itself.
    @Test func aFirstOneThatTakesNothingHoldsNobodyUp() throws {
        let simulation = Simulation(.fixed)
        let took = try simulation.run { [zookeeper = simulation.zookeeper] in
            let onlooker = zookeeper.connect("onlooker")
            let queue = try MessageQueue(store: onlooker)
            let producer = QueueProducer(queue)
            try await producer.send("first")
            let place = "/queue/idle/0000000000000000000-consumer-nobody"
            _ = try await onlooker.create(place, data: [], mode: .ephemeral)
            let consumer = QueueConsumer(try MessageQueue(store: zookeeper.connect("consumer")))
            var messages = consumer.makeAsyncIterator()
            try await messages.next()?.acknowledge()
            async let next = messages.next()
            // It has gone to stand in line by then.
            try await onlooker.sleep(for: .seconds(30))
            let start = onlooker.now
            try await producer.send("second")
            try await next?.acknowledge()
            let took = onlooker.now - start
            await producer.close()
            await consumer.close()
            return took
        }
        #expect(took <= .seconds(11))
    }
}
