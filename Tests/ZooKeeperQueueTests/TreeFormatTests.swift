import Testing
import TestSupport
import ZooKeeper

@testable import ZooKeeperQueue

/// A queue in the tree format of a later release, in which this release must change nothing.
@Suite(.timeLimit(.minutes(1)))
struct TreeFormatTests {
    private static let later = Array("0 open 2".utf8)

    @Test("Every operation refuses a later format, and changes nothing")
    func everyOperation() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
            await producer.close()
            try await queue.drain { try await $0.deadLetter(reason: "for redrive") }
            // A failed consumer with a lease.
            for path in ["/queue/consumers/consumer-0000000099", "/queue/consumers/consumer-0000000099/item"] {
                try await client.create(path)
            }
            try await client.create("/queue/consumers/consumer-0000000099/item/item-100-0000000050", data: [1])
            try await client.create("/queue/producers/old")
            try await client.set("/queue/epoch", data: Self.later)
            let before = try await queue.paths()

            await expect(.unsupportedFormat) {
                let late = QueueProducer(queue)
                defer { Task { await late.close() } }
                try await late.send("c")
            }
            await expect(.unsupportedFormat) { try await queue.drain() }
            await expect(.unsupportedFormat) { try await QueueRecovery(queue).recover() }
            await expect(.unsupportedFormat) { try await QueueRecovery(queue).run() }
            await expect(.unsupportedFormat) { try await queue.redriveAll() }
            await expect(.unsupportedFormat) { try await queue.purge() }
            await expect(.unsupportedFormat) { try await queue.purgeDeadLetters() }
            await expect(.unsupportedFormat) { _ = try await queue.peek() }
            let after = try await queue.paths()
            #expect(after == before)
        }
    }

    @Test("The number of the current format is accepted")
    func currentFormat() async throws {
        try await withTestQueue { client, queue in
            try await queue.prepare()
            try await client.set("/queue/epoch", data: Array("0 open \(SequenceEpoch.format)".utf8))
            let producer = QueueProducer(queue)
            try await producer.send("a")
            await producer.close()
            #expect(try await queue.drain() == ["a"])
        }
    }

    @Test("A running producer and consumer refuse a later format, but settle a held message")
    func runningClients() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            try await client.set("/queue/epoch", data: Self.later)

            let error = await #expect(throws: QueueError.self) { try await producer.send("c") }
            #expect(error?.code == .unsupportedFormat && error?.message.contains("format 2") == true)
            // In every format, a held message has no other lease.
            try await held.acknowledge()
            await expect(.unsupportedFormat) { _ = try await messages.next() }
            await producer.close()
            await consumer.close(gracePeriod: .zero)
            #expect(try await queue.statistics().ready == 1)
        }
    }
}
