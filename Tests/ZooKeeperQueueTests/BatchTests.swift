import Testing
import TestSupport
import ZooKeeper

@testable import ZooKeeperQueue

/// Queues that store several messages in one node.
@Suite(.timeLimit(.minutes(2)))
struct BatchTests {
    private let attributes = QueueAttributes(maximumDeliveries: 3, maximumBatchSize: 8)

    private func withBatches(_ count: Int, _ body: (ZooKeeperClient, MessageQueue) async throws -> Void) async throws {
        try await withTestQueue(attributes: attributes) { client, queue in
            let producer = QueueProducer(queue)
            let receipts = try await producer.send(contentsOf: (0..<count).map { OutgoingMessage("\($0)") })
            await producer.close()
            #expect(Set(receipts.map(\.nodeName)).count == count)
            try await body(client, queue)
        }
    }

    /// Lets a consumer claim messages, and closes its client without closing the consumer, as a crash would.
    private func crash(like client: ZooKeeperClient) async throws {
        try await withAnotherClient(like: client) { other in
            var messages = QueueConsumer(try MessageQueue(other)).makeAsyncIterator()
            let message = try #require(try await messages.next())
            await other.close()
            _ = message
        }
    }

    private func expectEmpty(_ queue: MessageQueue) async throws {
        let paths = try await queue.paths()
        #expect(paths == Set(queue.tree.parents + [queue.tree.settings]))
    }

    @Test("Messages share nodes and are delivered one by one, in order")
    func sharedNodes() async throws {
        try await withBatches(20) { _, queue in
            #expect(try await queue.statistics().ready == 3)
            #expect(try await queue.peek().map(\.nodeName).first == "item-100-0000000000-000")
            #expect(try await queue.peek(limit: 10).count == 10)
            #expect(try await queue.drain() == (0..<20).map(String.init))
            try await expectEmpty(queue)
        }
    }

    @Test("The stored maximumBatchSize applies to every producer")
    func storedBatchSize() async throws {
        try await withBatches(8) { client, _ in
            let other = try MessageQueue(client)
            let producer = QueueProducer(other)
            try await producer.send(contentsOf: (8..<16).map { OutgoingMessage("\($0)") })
            await producer.close()
            #expect(try await other.statistics().ready == 2)
            try await other.update { $0.maximumBatchSize = 1 }
            let later = QueueProducer(other)
            try await later.send(contentsOf: (16..<20).map { OutgoingMessage("\($0)") })
            await later.close()
            #expect(try await other.statistics().ready == 6)
            #expect(try await other.drain(prefetch: 3) == (0..<20).map(String.init))
            await expect(.invalidArgument) { try await other.update { $0.maximumBatchSize = 0 } }
        }
        #expect(throws: QueueError.self) { try QueueAttributes(maximumBatchSize: 901).validate() }
    }

    @Test("The messages of a batch are settled independently")
    func independentSettlement() async throws {
        try await withBatches(8) { client, queue in
            let first = try await queue.drain { message in
                switch message.payload {
                case Array("2".utf8) where message.deliveryCount == 1: try await message.requeue()
                case Array("5".utf8): try await message.deadLetter(reason: "tried")
                default: try await message.acknowledge(with: [])
                }
            }
            #expect(first.sorted() == ["0", "1", "2", "2", "3", "4", "5", "6", "7"])
            let dead = try await queue.deadLetters()
            #expect(dead.map(\.nodeName) == ["item-100-0000000000-005"] && dead.first?.payload == Array("5".utf8))
            try await queue.redrive("item-100-0000000000-005")
            #expect(try await queue.drain() == ["5"])
            try await expectEmpty(queue)
        }
    }

    @Test("After a crash, the unacknowledged messages of a batch are redelivered in order")
    func crashWithinABatch() async throws {
        try await withBatches(8) { client, queue in
            try await withAnotherClient(like: client) { other in
                let consumer = QueueConsumer(try MessageQueue(other))
                var messages = consumer.makeAsyncIterator()
                var held: [QueueMessage] = []
                while held.count < 8, let message = try await messages.next() { held.append(message) }
                for index in [1, 4, 7] { try await held[index].acknowledge() }
                await other.close()
            }
            let report = try await QueueRecovery(queue).recover()
            #expect(report.recovered == 5 && report.redelivered == 5 && report.consumersRemoved == 1)
            var counts: Set<Int> = []
            var names: [String] = []
            let payloads = try await queue.drain {
                counts.insert($0.deliveryCount)
                names.append($0.nodeName)
                try await $0.acknowledge()
            }
            #expect(payloads == ["0", "2", "3", "5", "6"] && counts == [2])
            #expect(names.first == "item-100-0000000000-000.1")
            try await expectEmpty(queue)
        }
    }

    @Test("A dropped consumer returns a complete batch as one node, and the rest of another as single messages")
    func partlyConsumedBatch() async throws {
        try await withBatches(16) { _, queue in
            for try await message in QueueConsumer(queue) {
                try await message.acknowledge()
                break
            }
            // The consumer returns the rest after its iterator is gone, and no call waits for that.
            while try await queue.statistics().consumers > 0 { await Task.yield() }
            #expect(try await queue.statistics().ready == 8)
            #expect(try await queue.drain() == (1..<16).map(String.init))
            try await expectEmpty(queue)
        }
    }

    @Test("Another client's message is delivered between two batches, in order")
    func foreignMessage() async throws {
        try await withBatches(8) { client, queue in
            _ = try await client.create(
                "/queue/items/item-100-", data: Array("foreign".utf8), mode: .persistentSequential)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (8..<10).map { OutgoingMessage("\($0)", headers: ["a": "b"]) })
            await producer.close()
            #expect(try await queue.drain() == (0..<8).map(String.init) + ["foreign", "8", "9"])
            try await expectEmpty(queue)
        }
    }

    @Test("The long messages of a batch still fit when a recovery splits it")
    func longMessages() async throws {
        try await withTestQueue(attributes: attributes) { client, queue in
            let producer = QueueProducer(queue)
            let long = [UInt8](repeating: 7, count: producer.maximumPayloadSize / 6)
            try await producer.send(contentsOf: (0..<12).map { _ in OutgoingMessage(long) } + [OutgoingMessage("end")])
            await producer.close()
            try await crash(like: client)
            let report = try await QueueRecovery(queue).recover()
            #expect(report.recovered == report.redelivered && report.recovered > 0)
            let payloads = try await queue.drain()
            #expect(payloads.map(\.utf8.count) == .init(repeating: long.count, count: 12) + [3])
            try await expectEmpty(queue)
        }
    }

    @Test("A recovery splits a batch of 900 messages")
    func largestBatch() async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: 900)) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<900).map { OutgoingMessage("\($0)") })
            await producer.close()
            #expect(try await queue.statistics().ready == 1)
            try await crash(like: client)
            let report = try await QueueRecovery(queue).recover()
            #expect(report.recovered == 900 && report.redelivered == 900)
            #expect(try await queue.drain() == (0..<900).map(String.init))
            try await expectEmpty(queue)
        }
    }
}
