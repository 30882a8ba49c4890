import Simulation
import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

/// The simulation itself: virtual time, and the detection of programs that do not end.
struct DeterminismTests {
    @Test("An hour of virtual time passes in less than ten seconds")
    func virtualTime() throws {
        let simulation = Simulation(.seeded(1))
        let start = ContinuousClock.now
        let end = try simulation.run { [clock = simulation.clock] in
            try await clock.sleep(for: .seconds(3_600))
            return clock.now.offset
        }
        #expect(end == .seconds(3_600))
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test("A queue delivers ten messages in order in a simulation")
    func queueInSimulation() throws {
        let simulation = Simulation(.seeded(2))
        let payloads = try simulation.run { [zookeeper = simulation.zookeeper] in
            let queue = try MessageQueue(store: zookeeper.connect())
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<10).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            var payloads: [String] = []
            while let message = try await messages.next(within: .zero) {
                payloads.append(String(decoding: message.payload, as: UTF8.self))
                try await message.acknowledge()
            }
            await consumer.close()
            return payloads
        }
        #expect(payloads == (0..<10).map(String.init))
    }

    @Test("The simulation reports a program that loops")
    func reportsLoop() throws {
        #expect(throws: Simulation.Stuck.self) {
            try Simulation(.fixed).run { while !Task.isCancelled { await Task.yield() } }
        }
        let simulation = Simulation(.fixed)
        #expect(throws: Simulation.Stuck.self) {
            try simulation.run { [clock = simulation.clock] in
                while !Task.isCancelled { try await clock.sleep(for: .seconds(1)) }
            }
        }
    }

    @Test("The simulation reports a program that waits forever")
    func reportsWaitingForever() throws {
        #expect(throws: Simulation.Stuck.self) {
            try Simulation(.fixed).run { [clock = VirtualClock()] in try await clock.sleep(for: .seconds(1)) }
        }
    }
}
