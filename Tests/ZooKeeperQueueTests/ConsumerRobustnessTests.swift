import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Consumers that meet unusual servers and interfering clients.
@Suite(.timeLimit(.minutes(2)))
struct ConsumerRobustnessTests {
    @Test("Claims shrink to the server's request limit, and a message that exceeds it alone is skipped")
    func smallRequestLimit() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect(sessionTimeout: .seconds(60)))
        let producer = QueueProducer(queue)
        for number in 0..<40 {
            try await producer.send(
                OutgoingMessage([UInt8](repeating: UInt8(number), count: number == 7 ? 60_000 : 8_000)))
        }
        await producer.close()
        zookeeper.maximumPacketSize = 50_000
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        var received: [UInt8] = []
        while received.count < 39, let message = try await messages.next(within: .seconds(20)) {
            received.append(message.payload[0])
            try await message.acknowledge()
        }
        #expect(received.sorted() == (0..<40).filter { $0 != 7 })
        let skipped = try #require(queue.skippedNodes().first)
        #expect(queue.skippedNodes().count == 1 && skipped.path.hasSuffix("0000000007"))
        #expect(skipped.reason.remedy.contains("jute.maxbuffer"))
        await consumer.close(gracePeriod: .seconds(1))
    }

    @Test(
        "close() returns within five seconds after the grace period when no server replies", arguments: [false, true])
    func closingTimeLimit(holdsALease: Bool) throws {
        let simulation = Simulation(.fixed)
        let (zookeeper, clock) = (simulation.zookeeper, simulation.clock)
        let took = try simulation.run {
            let hangs = Mutex(false)
            let store = zookeeper.connect(faults: { _ in hangs.withLock { $0 } ? .requestTooLate : nil })
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            if holdsALease { try await producer.send("x") }
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try await messages.next(within: .zero)
            #expect((message != nil) == holdsALease)
            hangs.withLock { $0 = true }
            let start = clock.now.offset
            await consumer.close(gracePeriod: .seconds(2))
            withExtendedLifetime(message) {}
            store.crash()
            return clock.now.offset - start
        }
        #expect(took <= .seconds(7))
    }

    @Test(
        "close() requeues the held message and unregisters, even when several requests fail",
        arguments: [
            [Fault.moved, .requestTooLate], [.moved, .moved, .moved, .moved], [.replyTooLate, .requestTooLate],
        ])
    func closingRetries(faults: [Fault]) throws {
        let simulation = Simulation(.fixed)
        try simulation.run { [zookeeper = simulation.zookeeper] in
            let pending = Mutex<[Fault]>([])
            let store = zookeeper.connect(faults: { call in
                guard call.request == "multi" else { return nil }
                return pending.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            })
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            var configuration = QueueConsumer.Configuration()
            configuration.closingTime = .seconds(120)
            let consumer = QueueConsumer(queue, configuration: configuration)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            pending.withLock { $0 = faults }
            await consumer.close(gracePeriod: .zero)
            // The session is still alive, so no recovery can have requeued the message.
            #expect(pending.withLock { $0.isEmpty })
            #expect(try await store.children(of: "/queue/items").names == [message.nodeName])
            #expect(try await store.children(of: "/queue/consumers").names.isEmpty)
            store.crash()
        }
    }

    @Test("close() removes a registration that has lost its ephemeral node")
    func lostEphemeralNode() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        #expect(try await messages.next(within: .zero)?.nodeName == nil)
        let name = try #require(try await store.children(of: "/queue/consumers").names.first)
        try await store.delete("/queue/consumers/\(name)/active", version: nil)
        await consumer.close()
        #expect(try await store.children(of: "/queue/consumers").names.isEmpty)
    }

    @Test("A message returns under another name when its old name is in use", arguments: [1, 4])
    func nameInUse(maximumBatchSize: Int) async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store).creating(with: .init(maximumBatchSize: maximumBatchSize))
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<4).map { OutgoingMessage("\($0)") })
        await producer.close()
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        let first = try #require(try await messages.next())
        let leases = try #require(try await store.children(of: "/queue/consumers").names.first)
        let names = try await store.children(of: "/queue/consumers/\(leases)/item").names
        for name in names {
            _ = try await store.create("/queue/items/\(name)", data: Array("foreign".utf8), mode: .persistent)
        }
        // The consumer has met the foreign messages while it held others with the same names.
        try await withDeadline("the consumer to skip the foreign messages") {
            while queue.skippedNodes().count < names.count { await Task.yield() }
        }
        #expect(queue.skippedNodes().allSatisfy { $0.reason == .nameInUse })
        try await first.acknowledge()
        await consumer.close()
        let rest = QueueConsumer(queue)
        var iterator = rest.makeAsyncIterator()
        var payloads: [String] = []
        while payloads.count(where: { $0 == "foreign" }) < names.count {
            // Names in use are tried again after a second.
            let message = try #require(try await iterator.next(within: .seconds(20)))
            payloads.append(String(decoding: message.payload, as: UTF8.self))
            try await message.acknowledge()
        }
        await rest.close()
        #expect(Set(payloads).isSuperset(of: ["1", "2", "3"]))
    }

    @Test("A refused claim does not list the queue again")
    func refusedClaim() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect())
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<1_000).map { OutgoingMessage("\($0)") })
        await producer.close()
        let rival = zookeeper.connect()
        let listings = Mutex(0)
        let store = zookeeper.connect(faults: { call in
            if call.request == "children", call.path == "/queue/items" { listings.withLock { $0 += 1 } }
            return nil
        })
        let consumer = QueueConsumer(try MessageQueue(store: store), configuration: .init(prefetch: 10))
        var messages = consumer.makeAsyncIterator()
        var received: [Int] = []
        for _ in 0..<300 {
            let message = try #require(try await messages.next())
            let number = try #require(Int(String(decoding: message.payload, as: UTF8.self)))
            received.append(number)
            // Another client deletes one of the next messages.
            let next = "/queue/items/item-100-00000" + "\(100_000 + number + 12)".dropFirst()
            if number.isMultiple(of: 7) { try? await rival.delete(next, version: nil) }
            try await message.acknowledge()
        }
        #expect(received == received.sorted())
        #expect(listings.withLock { $0 } <= 3, "\(listings.withLock { $0 }) listings")
        await consumer.close()
    }

    @Test("A missing chroot is created with the queue, unless `createIfMissing` is false")
    func missingChroot() async throws {
        let servers = try await TestServer.address() + "/not/there"
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { client in
            let reader = try MessageQueue(client, createIfMissing: false)
            await expect(.queueNotFound) { try await reader.prepare() }
            let queue = try MessageQueue(client)
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            #expect(try await queue.drain() == ["x"])
        }
    }
}
