import MetricsTestKit
import Testing
import TestSupport
import ZooKeeper

@testable import ZooKeeperQueue

@Suite(.timeLimit(.minutes(2)))
struct InspectionTests {
    @Test("Consumers are listed with what they hold, also when their sessions have ended")
    func consumers() async throws {
        try await withTestQueue { client, queue in
            await expect(.queueNotFound) { _ = try await MessageQueue(client, path: "/none").consumers() }
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<3).map { OutgoingMessage("\($0)") })
            await producer.close()
            #expect(try await queue.consumers().isEmpty)
            try await withAnotherClient(like: client) { other in
                let consumer = QueueConsumer(try MessageQueue(other), configuration: .init(prefetch: 1))
                var messages = consumer.makeAsyncIterator()
                let message = try await messages.next()
                await other.close()
                _ = message
            }
            try await queue.withConsumer(prefetch: 2) { messages in
                var messages = messages.makeAsyncIterator()
                let message = try #require(try await messages.next())
                while try await queue.statistics().leased < 3 { await Task.yield() }
                let consumers = try await queue.consumers()
                #expect(consumers.map(\.isAlive) == [false, true] && consumers.map(\.leases.count) == [1, 2])
                let lease = try #require(consumers[1].leases.first)
                #expect(lease.nodeName == message.nodeName && lease.claimedAt >= consumers[1].registeredAt)
                try await message.acknowledge()
            }
            #expect(try await queue.consumers().map(\.isAlive) == [false])
        }
    }

    @Test("The statistics, the age and a peek show the messages without changing them")
    func statistics() async throws {
        try await withTestQueue { _, queue in
            await expect(.queueNotFound) { _ = try await queue.statistics() }
            try await queue.prepare()
            #expect(try await queue.oldestMessageAge() == nil)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [
                OutgoingMessage("b"), OutgoingMessage("c"), OutgoingMessage("a", priority: 1),
            ])
            await producer.close()
            try await queue.expectStatistics(ready: 3, leased: 0, partial: 0, dead: 0, consumers: 0)
            let age = try #require(try await queue.oldestMessageAge())
            #expect(age >= .zero && age < .seconds(30))
            let peeked = try await queue.peek(limit: 2)
            #expect(peeked.map { String(decoding: $0.payload, as: UTF8.self) } == ["a", "b"])
            #expect(peeked.map(\.priority) == [1, 100] && peeked.map(\.deliveryCount) == [1, 1])
            #expect(try await queue.statistics().ready == 3)
        }
    }

    @Test("Dead letters can be listed, redriven and purged")
    func deadLetters() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<4).map { OutgoingMessage("\($0)", headers: ["n": "\($0)"]) })
            await producer.close()
            try await queue.drain { try await $0.deadLetter(reason: "no good: \($0.nodeName)") }
            let letters = try await queue.deadLetters()
            #expect(letters.map { String(decoding: $0.payload, as: UTF8.self) } == ["0", "1", "2", "3"])
            #expect(letters[2].reason == "no good: \(letters[2].nodeName)" && letters[2].headers == ["n": "2"])
            try await queue.redrive(letters[2].nodeName)
            await expect(.notFound) { try await queue.redrive(letters[2].nodeName) }
            await expect(.invalidArgument) { try await queue.redrive("../items") }
            #expect(try await queue.drain() == ["2"])
            #expect(try await queue.redriveAll() == 3)
            #expect(try await queue.drain { try await $0.deadLetter(reason: "again") } == ["0", "1", "3"])
            #expect(try await queue.purgeDeadLetters() == 3)
            try await queue.expectEmptyTree()
        }
    }

    @Test("A purge deletes ready messages, and neither leased messages nor foreign nodes")
    func purge() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<1_000).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            try await client.create("/queue/items/notes")
            #expect(try await queue.purge() == 999)
            try await queue.expectStatistics(ready: 1, leased: 1, partial: 0, dead: 0, consumers: 1)
            try await held.acknowledge()
            await consumer.close()
        }
    }

    @Test("Sequence usage covers each kind of number, and a recovery reports it as a metric")
    func sequenceUsage() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            for _ in 0..<3 { try await producer.send("x") }
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            try await messages.next()?.acknowledge()
            let factory = TestMetrics()
            _ = try await QueueRecovery(queue, metricsFactory: factory).recover()
            let usage = Dictionary(uniqueKeysWithValues: try await queue.sequenceUsage().map { ($0.kind, $0.value) })
            #expect(usage[.messages] == 3 && usage[.consumers] == 1 && usage[.batches] == 3)
            #expect((1...4).contains(usage[.transactions] ?? 0) && usage[.zxids] ?? 0 > 10)
            let gauge = try factory.expectGauge(
                "zookeeper_queue_counter", [("queue", "/queue"), ("counter", "messages")])
            #expect(gauge.lastValue == 3)
            await producer.close()
            await consumer.close()
        }
    }
}
