import Testing
import TestSupport
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// How messages become dead letters.
@Suite(.timeLimit(.minutes(2)))
struct DeadLetterTests {
    @Test("Every consumer applies the stored maximumDeliveries, and follows a change")
    func sharedMaximum() async throws {
        let zookeeper = InMemoryZooKeeper()
        let owner = try MessageQueue(store: zookeeper.connect()).creating(with: .init(maximumDeliveries: 4))
        let producer = QueueProducer(owner)
        try await producer.send("job")
        await producer.close()
        let other = try MessageQueue(store: zookeeper.connect())
        var deliveries = 0
        try await other.drain {
            deliveries += 1
            try await $0.requeue()
        }
        #expect(deliveries == 4)
        #expect(try await owner.statistics().deadLettered == 1)
        // The running consumer follows a change.
        try await owner.redriveAll()
        let consumer = QueueConsumer(other)
        var messages = consumer.makeAsyncIterator()
        let message = try #require(try await messages.next())
        try await owner.update { $0.maximumDeliveries = 1 }
        try await message.requeue()
        #expect(try await owner.statistics().deadLettered == 1)
        await consumer.close()
    }

    @Test("A long reason is shortened to fit, without splitting a character")
    func longReason() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        let producer = QueueProducer(queue)
        let payload = [UInt8](repeating: 1, count: producer.maximumPayloadSize - 16)
        try await producer.send(contentsOf: [OutgoingMessage(payload), OutgoingMessage("small")])
        await producer.close()
        try await queue.drain { try await $0.deadLetter(reason: String(repeating: "é", count: 5_000)) }
        let letters = try await queue.deadLetters()
        #expect(letters.map(\.payload.count) == [payload.count, 5])
        #expect(letters.allSatisfy { $0.reason.allSatisfy { $0 == "é" } })
        #expect(letters.last?.reason.utf8.count == 4_096)
    }
}
