import Simulation
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Messages that are not delivered any more after a time.
@Suite(.timeLimit(.minutes(2)))
struct ExpiryTests {
    @Test(
        "An expired message is not handed out, and becomes a dead letter or is deleted",
        arguments: QueueAttributes.WhenExpired.allCases, [1, 10])
    func expired(_ whenExpired: QueueAttributes.WhenExpired, batch: Int) throws {
        try simulateQueue(.init(whenExpired: whenExpired, maximumBatchSize: batch)) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [
                .init("short", expiresAfter: .seconds(5)), .init("long", expiresAfter: .seconds(500)),
                .init("for ever"),
            ])
            await producer.close()
            try await simulation.clock.sleep(for: .seconds(6))
            #expect(try await queue.drain() == ["long", "for ever"])
            let letters = try await queue.deadLetters()
            #expect(letters.map(\.reason) == (whenExpired == .deadLetter ? ["expired"] : []))
            #expect(letters.allSatisfy { $0.payload == Array("short".utf8) })
            // A message that is redriven does not expire again.
            #expect(try await queue.redriveAll() == letters.count)
            #expect(try await queue.drain() == letters.map { _ in "short" })
            let statistics = try await queue.statistics()
            #expect(statistics.ready == 0 && statistics.leased == 0 && statistics.consumers == 0)
        }
    }

    @Test("A message that expires in the buffer of a consumer is not handed out")
    func expiredInTheBuffer() throws {
        try simulateQueue(.init()) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [
                .init("first"), .init("second", expiresAfter: .seconds(5)), .init("third"),
            ])
            await producer.close()
            let payloads = try await queue.drain { message in
                try await message.acknowledge()
                try await simulation.clock.sleep(for: .seconds(6))
            }
            #expect(payloads == ["first", "third"])
            #expect(try await queue.deadLetters().count == 1)
        }
    }

    @Test(
        "A recovery settles the expired messages of a queue that hands out none",
        arguments: QueueAttributes.WhenExpired.allCases, [1, 10])
    func sweep(_ whenExpired: QueueAttributes.WhenExpired, batch: Int) throws {
        try simulateQueue(.init(whenExpired: whenExpired, maximumBatchSize: batch)) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<30).map { .init("\($0)", expiresAfter: .seconds(5)) })
            try await producer.send(contentsOf: (0..<10).map { .init("later \($0)", expiresAfter: .seconds(600)) })
            try await producer.send("for ever")
            await producer.close()
            // A consumer that is paused hands out nothing either.
            try await queue.update { $0.paused = [.consume] }
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            #expect(try await messages.next(within: .zero) == nil)
            let recovery = QueueRecovery(queue)
            #expect(try await recovery.recover().expired == 0)
            try await simulation.clock.sleep(for: .seconds(61))
            #expect(try await recovery.recover().expired == 30)
            await consumer.close()
            try await simulation.clock.sleep(for: .seconds(600))
            #expect(try await recovery.recover().expired == 10)
            let letters = try await queue.deadLetters()
            #expect(letters.count == (whenExpired == .deadLetter ? 40 : 0))
            #expect(letters.allSatisfy { $0.reason == "expired" })
            try await queue.update { $0.paused = [] }
            #expect(try await queue.drain() == ["for ever"])
        }
    }

    @Test("Sweeps that follow each other reach every part of a long queue")
    func longQueue() throws {
        try simulateQueue { simulation, queue in
            let producer = QueueProducer(queue)
            let count = ExpirySweep.maximumNodes + 500
            try await producer.send(contentsOf: (0..<ExpirySweep.maximumNodes).map { OutgoingMessage("\($0)") })
            try await producer.send(contentsOf: (0..<500).map { .init("e\($0)", expiresAfter: .seconds(5)) })
            await producer.close()
            let recovery = QueueRecovery(queue)
            var expired = 0
            for _ in 0..<2 {
                try await simulation.clock.sleep(for: .seconds(61))
                expired += try await recovery.recover().expired
            }
            #expect(expired == 500)
            #expect(try await queue.statistics().ready == count - 500)
        }
    }

    @Test("An expiry that precedes the delivery by the ensemble's clock is refused, and nothing of the send is stored")
    func expiresBeforeDelivery() throws {
        try simulateQueue { _, queue in
            let producer = QueueProducer(queue)
            let now = try await queue.readClock()
            let invalid: [OutgoingMessage] = [
                .init("x", delay: .seconds(60), expiresAt: now.advanced(by: .seconds(30))),
                .init("x", deliverAt: now.advanced(by: .seconds(60)), expiresAfter: .seconds(30)),
            ]
            for message in invalid {
                await expect(.invalidArgument) { try await producer.send(contentsOf: [.init("a"), message]) }
            }
            try await producer.send(
                contentsOf: [
                    .init("x", delay: .seconds(60), expiresAt: now.advanced(by: .seconds(90))),
                    .init("x", deliverAt: now.advanced(by: .seconds(60)), expiresAfter: .seconds(90)),
                ])
            let statistics = try await queue.statistics()
            #expect(statistics.ready == 0 && statistics.delayed == 2)
            await producer.close()
        }
    }

    @Test("An expiry that precedes the delivery, or is none, is refused before anything is sent")
    func invalid() async throws {
        let zookeeper = InMemoryZooKeeper()
        let store = zookeeper.connect("client")
        let producer = QueueProducer(try MessageQueue(store: store))
        let time = EnsembleTime(millisecondsSince1970: 1_000)
        let invalid: [OutgoingMessage] = [
            .init("x", expiresAfter: .zero), .init("x", expiresAfter: .seconds(-1)),
            .init("x", delay: .seconds(5), expiresAfter: .seconds(5)), .init("x", deliverAt: time, expiresAt: time),
            .init("x", expiresAfter: .seconds(1), expiresAt: time), .init("x", expiresAfter: .seconds(8_000 * 86_400)),
        ]
        for message in invalid { await expect(.invalidArgument) { try await producer.send(message) } }
        #expect(try await store.exists("/queue") == nil)
        store.close()
    }
}
