import Testing
import TestSupport
import ZooKeeper

@testable import ZooKeeperQueue

/// Clients in other languages, legacy clients and plain ZooKeeper clients on the same tree.
@Suite(.timeLimit(.minutes(2)))
struct ForeignClientTests {
    private func withLegacyTree(
        _ name: String = #function, _ body: (ZooKeeperClient, MessageQueue) async throws -> Void
    ) async throws {
        try await withTestQueue(name) { client, queue in
            for path in ["/queue", "/queue/items", "/queue/partial", "/queue/consumers"] {
                try await client.create(path)
            }
            try await body(client, queue)
        }
    }

    @Test("A plain client's data is delivered byte for byte")
    func rawPayloads() async throws {
        try await withLegacyTree { client, queue in
            let payloads: [[UInt8]] = [
                [0, 255, 10, 13], Envelope.magic, Envelope.magic + [1, 1, 0, 0, 0, 200], Array("text".utf8),
            ]
            for payload in payloads {
                try await client.create("/queue/items/item-100-", data: payload, mode: .persistentSequential)
            }
            var delivered: [[UInt8]] = []
            try await queue.drain {
                delivered.append($0.payload)
                try await $0.acknowledge()
            }
            #expect(delivered == payloads)
        }
    }

    @Test("An item that is created empty is delivered when it is filled")
    func filledLater() async throws {
        try await withLegacyTree { client, queue in
            let item = try await client.create("/queue/items/item-100-", mode: .persistentSequential).path
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            #expect(try await messages.next(within: .zero)?.payload == nil)
            // The consumer waits now, and the second write wakes it.
            async let message = messages.next()
            try await client.set(item, data: Array("filled".utf8))
            let delivered = try #require(try await message)
            #expect(delivered.payload == Array("filled".utf8))
            try await delivered.acknowledge()
            await consumer.close()
        }
    }

    @Test("An item that is filled with no data is an empty message")
    func emptyMessage() async throws {
        try await withLegacyTree { client, queue in
            let item = try await client.create("/queue/items/item-100-", mode: .persistentSequential).path
            try await client.set(item, data: [])
            // The requeued message must not look like an item that is still being written.
            var deliveries = 0
            try await queue.drain {
                deliveries += 1
                #expect($0.payload == [] && $0.deliveryCount == deliveries)
                if deliveries == 1 { try await $0.requeue() } else { try await $0.acknowledge() }
            }
            #expect(deliveries == 2)
        }
    }

    @Test("A recovery redelivers the item of a failed legacy client")
    func failedLegacyClient() async throws {
        try await withLegacyTree { client, queue in
            try await client.create("/queue/consumers/consumer-0000000003")
            try await client.create("/queue/consumers/consumer-0000000003/item", data: Array("reserved".utf8))
            #expect(try await queue.statistics().leased == 1)
            let report = try await QueueRecovery(queue).recover()
            #expect(report.recovered == 1 && report.consumersRemoved == 1)
            try await queue.drain {
                #expect($0.payload == Array("reserved".utf8) && $0.deliveryCount == 2)
                try await $0.acknowledge()
            }
            try await queue.expectEmptyTree()
        }
    }

    @Test("A living legacy client keeps its item")
    func livingLegacyClient() async throws {
        try await withLegacyTree { client, queue in
            try await client.create("/queue/consumers/consumer-0000000003")
            try await client.create("/queue/consumers/consumer-0000000003/active", mode: .ephemeral)
            try await client.create("/queue/consumers/consumer-0000000003/item", data: Array("reserved".utf8))
            #expect(try await QueueRecovery(queue).recover().isEmpty)
            #expect(try await client.get("/queue/consumers/consumer-0000000003/item").data == Array("reserved".utf8))
        }
    }

    @Test("An item that is too large for this client does not block other messages")
    func tooLargeItem() async throws {
        try await withLegacyTree { client, queue in
            try await ZooKeeperClient.withClient(
                configuration: .init(servers: client.address, maximumRequestSize: 1_000_000)
            ) { other in
                let large = [UInt8](repeating: 1, count: 700_000)
                try await other.create("/queue/items/item-100-", data: large, mode: .persistentSequential)
                try await other.create("/queue/items/item-100-", data: [2], mode: .persistentSequential)
            }
            #expect(try await queue.drain() == ["\u{2}"])
            #expect(try await queue.statistics().ready == 1)
        }
    }

    @Test("Foreign nodes and unknown envelopes stay in place")
    func unknownNodes() async throws {
        try await withLegacyTree { client, queue in
            let unknown = Envelope.magic + [9, 9, 0, 0, 0, 0, 1, 2, 3]
            try await client.create("/queue/items/notes", data: [1])
            try await client.create("/queue/items/item-100-", data: unknown, mode: .persistentSequential)
            try await client.create("/queue/items/item-100-", data: Array("mine".utf8), mode: .persistentSequential)
            #expect(try await queue.drain() == ["mine"])
            #expect(try await client.get("/queue/items/notes").data == [1])
            #expect(try await client.children(of: "/queue/items").names.count == 2)
            try await QueueRecovery(queue).recover()
            #expect(try await client.children(of: "/queue/items").names.count == 2)
        }
    }
}
