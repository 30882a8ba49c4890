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
