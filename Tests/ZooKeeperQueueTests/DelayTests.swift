import Simulation
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Messages that are delivered later.
@Suite(.timeLimit(.minutes(2)))
struct DelayTests {
    /// A message as it was received: its text, and how late it became ready, by the ensemble's clock.
    private struct Received: Sendable, Equatable {
        let text: String
        let enqueuedAt: EnsembleTime
        let deliveryCount: Int
        var minute: Int64 { enqueuedAt.millisecondsSince1970 / 60_000 }
    }

    /// Runs a recovery and a consumer until `count` messages have arrived.
    private static func receive(
        _ count: Int, from queue: MessageQueue,
        settle: @escaping @Sendable (QueueMessage) async throws -> Void = { try await $0.acknowledge() }
    ) async throws -> [Received] {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await QueueRecovery(queue).run() }
            defer { group.cancelAll() }
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var received: [Received] = []
            for try await message in consumer {
                received.append(
                    Received(
                        text: String(decoding: message.payload, as: UTF8.self), enqueuedAt: message.enqueuedAt,
                        deliveryCount: message.deliveryCount))
                try await settle(message)
                if received.count == count { break }
            }
            await consumer.close()
            return received
        }
    }

    /// A year and more.
    private static let timeLimit = Duration.seconds(400 * 86_400)

    private static func time(_ store: any ZooKeeperStore) async throws -> EnsembleTime {
        EnsembleTime(millisecondsSince1970: try await store.probe(below: "/queue").mtime)
    }

    @Test("Delayed messages become ready in the order of their due times, never early and at once", arguments: [1, 10])
    func order(batch: Int) throws {
        let delays: [(text: String, delay: Int)] = [
            ("c", 90_000), ("a", 1), ("d", 90_000), ("b", 5_000), ("e", 400_000), ("now", 0),
        ]
        try simulateQueue(.init(maximumBatchSize: batch), timeLimit: Self.timeLimit) { _, queue in
            let start = try await Self.time(queue.store)
            let producer = QueueProducer(queue)
            let receipts = try await producer.send(
                contentsOf: delays.map { OutgoingMessage($0.text, delay: .milliseconds($0.delay)) })
            await producer.close()
            #expect(receipts.count == delays.count)
            let received = try await Self.receive(delays.count, from: queue)
            #expect(received.map(\.text) == ["now", "a", "b", "c", "d", "e"])
            for message in received {
                let delay = delays.first { $0.text == message.text }?.delay ?? 0
                let late = start.duration(to: message.enqueuedAt) - .milliseconds(delay)
                #expect(late >= .zero && late < .milliseconds(2_000), "\(message.text) \(late)")
            }
        }
    }

    @Test("A message that is requeued with a delay blocks no other one, and returns to its place")
    func requeue() throws {
        try simulateQueue(timeLimit: Self.timeLimit) { _, queue in
            let producer = QueueProducer(queue)
            for text in ["a", "b", "c"] { try await producer.send(text) }
            await producer.close()
            let start = try await Self.time(queue.store)
            let received = try await Self.receive(6, from: queue) { message in
                let text = String(decoding: message.payload, as: UTF8.self)
                if message.deliveryCount == 1 {
                    try await message.requeue(after: .seconds(text == "a" ? 60 : 30), reason: "busy")
                } else {
                    try await message.acknowledge()
                }
            }
            #expect(received.map(\.text) == ["a", "b", "c", "b", "c", "a"])
            #expect(received.map(\.deliveryCount) == [1, 1, 1, 2, 2, 2])
            let waited = received.map { start.duration(to: $0.enqueuedAt) }
            #expect(waited[3] >= .seconds(30) && waited[3] < .seconds(31), "\(waited)")
            #expect(waited[5] >= .seconds(60) && waited[5] < .seconds(61), "\(waited)")
        }
    }

    @Test("A time to deliver is judged by the ensemble's clock, and one that has passed means now")
    func absoluteTimes() throws {
        try simulateQueue(timeLimit: Self.timeLimit) { simulation, queue in
            // The clock of the machine differs from the ensemble's by a day.
            simulation.zookeeper.jumpServerClock(by: .seconds(86_400))
            let start = try await Self.time(queue.store)
            let producer = QueueProducer(queue)
            let later = EnsembleTime(millisecondsSince1970: start.millisecondsSince1970 + 7_200_000)
            try await producer.send(OutgoingMessage("later", deliverAt: later))
            try await producer.send(OutgoingMessage("past", deliverAt: .init(millisecondsSince1970: 5)))
            await producer.close()
            let received = try await Self.receive(2, from: queue)
            #expect(received.map(\.text) == ["past", "later"])
            #expect(received[1].enqueuedAt >= later && later.duration(to: received[1].enqueuedAt) < .seconds(1))
        }
    }

    @Test("Slots and days are removed when they have passed")
    func removedSlots() throws {
        try simulateQueue(timeLimit: Self.timeLimit) { simulation, queue in
            let start = try await Self.time(queue.store)
            let producer = QueueProducer(queue)
            for days in [0, 1, 40, 364] {
                try await producer.send(OutgoingMessage("\(days)", delay: .seconds(days * 86_400 + 10)))
            }
            await producer.close()
            #expect(try await queue.paths().filter { $0.hasPrefix("/queue/delayed/") }.count == 12)
            for (message, days) in zip(try await queue.delayedMessages(), [0, 1, 40, 364]) {
                let delay = start.duration(to: message.dueAt) - .seconds(days * 86_400 + 10)
                #expect(delay >= .zero && delay < .milliseconds(100), "a delay grows by \(delay)")
            }
            let recovery = QueueRecovery(queue)
            for (text, days) in [("0", 0), ("1", 1), ("40", 39), ("364", 324)] {
                try await simulation.clock.sleep(for: .seconds(days * 86_400 + 11))
                #expect(try await recovery.recover().madeReady == 1)
                #expect(try await queue.drain() == [text])
            }
            // The last day has to end first. An empty day is removed one pass after its last slot.
            try await simulation.clock.sleep(for: .seconds(2 * 86_400))
            for _ in 0..<2 { try await recovery.recover() }
            #expect(try await queue.paths().filter { $0.hasPrefix("/queue/delayed") } == ["/queue/delayed"])
        }
    }

    @Test("Another recovery goes on within ten seconds when the one that moves delayed messages fails")
    func moverFails() throws {
        try simulateQueue(timeLimit: Self.timeLimit) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(OutgoingMessage("x", delay: .seconds(20)))
            let first = simulation.zookeeper.connect("first", sessionTimeout: .seconds(60))
            let failing = Task { try await QueueRecovery(try MessageQueue(store: first)).run() }
            try await simulation.clock.sleep(for: .seconds(19))
            let holder = try await queue.store.get("/queue/delayed-lock").stat.ephemeralOwner
            let start = try await Self.time(queue.store)
            let receiving = Task { try await Self.receive(1, from: queue) }
            // Its session outlives it.
            first.disconnect(for: .seconds(3_600))
            let received = try await receiving.value
            #expect(start.duration(to: received[0].enqueuedAt) < .seconds(11))
            #expect(holder != 0)
            failing.cancel()
            first.crash()
            _ = try? await failing.value
            await producer.close()
        }
    }

    @Test("One recovery pass makes ready what is due")
    func onePass() throws {
        try simulateQueue(timeLimit: Self.timeLimit) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [.init("soon", delay: .seconds(5)), .init("late", delay: .seconds(60))])
            await producer.close()
            let recovery = QueueRecovery(queue)
            #expect(try await recovery.recover().madeReady == 0)
            try await simulation.clock.sleep(for: .seconds(6))
            #expect(try await recovery.recover().madeReady == 1)
            #expect(try await queue.drain() == ["soon"])
        }
    }

    @Test("A delay outside its limits is refused before anything is sent")
    func invalidDelays() async throws {
        let zookeeper = InMemoryZooKeeper()
        let store = zookeeper.connect("client")
        let producer = QueueProducer(try MessageQueue(store: store))
        await expect(.invalidArgument) { try await producer.send(OutgoingMessage("x", delay: .seconds(-1))) }
        await expect(.invalidArgument) {
            try await producer.send(OutgoingMessage("x", delay: .seconds(4_000 * 86_400)))
        }
        await expect(.invalidArgument) {
            try await producer.send(
                OutgoingMessage("x", delay: .seconds(1), deliverAt: .init(millisecondsSince1970: 1)))
        }
        await expect(.invalidArgument) {
            try await producer.send(OutgoingMessage("x", deliverAt: .init(millisecondsSince1970: 1 << 60)))
        }
        #expect(try await store.exists("/queue") == nil)
        store.close()
    }
}
