import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Consumers beside servers, and other programs, that do odd things.
@Suite(.timeLimit(.minutes(2)))
struct ConsumerRobustnessTests {
    @Test("Claims shrink until they pass a server with a smaller limit, and a message that is too large alone is named")
    func smallServerLimit() async throws {
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
        var taken: [UInt8] = []
        while taken.count < 39, let message = try await messages.next(within: .seconds(20)) {
            taken.append(message.payload[0])
            try await message.acknowledge()
        }
        #expect(taken.sorted() == (0..<40).filter { $0 != 7 })
        let skipped = try #require(queue.skippedNodes().first)
        #expect(queue.skippedNodes().count == 1 && skipped.path.hasSuffix("0000000007"))
        #expect(skipped.reason.remedy.contains("jute.maxbuffer"))
        await consumer.close(gracePeriod: .seconds(1))
    }

    @Test("Closing ends five seconds after the grace period when no server answers", arguments: [false, true])
    func closingIsBounded(holdsALease: Bool) throws {
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
        "Closing gives back what is held, and leaves the tree, also when several of its requests fail",
        arguments: [
            [Fault.moved, .requestTooLate], [.moved, .moved, .moved, .moved], [.replyTooLate, .requestTooLate],
        ])
    func closingTriesAgain(faults: [Fault]) throws {
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
            // The session lives on, so that nobody else could give the message back.
            #expect(pending.withLock { $0.isEmpty })
            #expect(try await store.children(of: "/queue/items").names == [message.nodeName])
            #expect(try await store.children(of: "/queue/consumers").names.isEmpty)
            store.crash()
        }
    }

    @Test("A registration whose ephemeral node is gone leaves nothing behind")
    func halfARegistration() async throws {
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

    @Test("A message whose place is taken comes back under another name", arguments: [1, 4])
    func placeIsTaken(maximumBatchSize: Int) async throws {
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
        try await first.acknowledge()
        await consumer.close()
        let payloads = try await queue.drain()
        #expect(Set(payloads).isSuperset(of: ["1", "2", "3"]))
        #expect(payloads.count { $0 == "foreign" } == names.count)
    }

    @Test("A refused claim does not list the queue again")
    func refusedClaimKeepsTheList() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect())
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<1_000).map { OutgoingMessage("\($0)") })
        await producer.close()
        let thief = zookeeper.connect()
        let listings = Mutex(0)
        let store = zookeeper.connect(faults: { call in
            if call.request == "children", call.path == "/queue/items" { listings.withLock { $0 += 1 } }
            return nil
        })
        let consumer = QueueConsumer(try MessageQueue(store: store), configuration: .init(prefetch: 10))
        var messages = consumer.makeAsyncIterator()
        var taken: [Int] = []
        for _ in 0..<300 {
            let message = try #require(try await messages.next())
            let number = try #require(Int(String(decoding: message.payload, as: UTF8.self)))
            taken.append(number)
            // Another consumer takes one of those that come next.
            let next = "/queue/items/item-100-00000" + "\(100_000 + number + 12)".dropFirst()
            if number.isMultiple(of: 7) { try? await thief.delete(next, version: nil) }
            try await message.acknowledge()
        }
        #expect(taken == taken.sorted())
        #expect(listings.withLock { $0 } <= 3, "\(listings.withLock { $0 }) listings")
        await consumer.close()
    }

    @Test("A missing chroot is created with the queue, and named where that is not allowed")
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
