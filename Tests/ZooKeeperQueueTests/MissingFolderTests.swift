import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Queues whose folders were removed.
@Suite(.timeLimit(.minutes(2)))
struct MissingFolderTests {
    private static let folders = QueueTree(root: "/queue").parents.map { String($0.dropFirst("/queue/".count)) }

    private func remove(_ folder: String, _ store: InMemorySession) async throws {
        let path = "/queue/" + folder
        // No process has restored the folder yet.
        guard try await store.exists(path) != nil else { return }
        for name in try await store.children(of: path).names {
            for inner in try await store.children(of: "\(path)/\(name)").names {
                for innermost in try await store.children(of: "\(path)/\(name)/\(inner)").names {
                    try await store.delete("\(path)/\(name)/\(inner)/\(innermost)", version: nil)
                }
                try await store.delete("\(path)/\(name)/\(inner)", version: nil)
            }
            try await store.delete("\(path)/\(name)", version: nil)
        }
        try await store.delete(path, version: nil)
    }

    @Test("A queue in use continues after a folder is removed", arguments: folders)
    func continues(folder: String) async throws {
        let zookeeper = InMemoryZooKeeper()
        let store = zookeeper.connect()
        let queue = try MessageQueue(store: store).creating(with: .init(maximumDeliveries: 2))
        let producer = QueueProducer(queue)
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        try await producer.send("before")
        try await #require(try await messages.next()).acknowledge()
        try await remove(folder, store)

        // A consumer moves a message to the dead letters.
        try await producer.send(OutgoingMessage("dead", id: "a"))
        try await #require(try await messages.next()).deadLetter(reason: "tried")
        #expect(try await queue.deadLetters().count == 1)
        // A consumer requeues a message.
        try await producer.send("again")
        try await #require(try await messages.next()).requeue()
        try await #require(try await messages.next()).acknowledge()
        await producer.close()
        await consumer.close()

        // A recovery takes a message from two failed consumers. The second time, it becomes a dead letter.
        try await remove(folder, store)
        let another = QueueProducer(queue)
        try await another.send("job")
        await another.close()
        for _ in 0..<2 {
            let failing = zookeeper.connect()
            var failed = QueueConsumer(try MessageQueue(store: failing)).makeAsyncIterator()
            let message = try #require(try await failed.next())
            if folder != "consumers" { try await remove(folder, store) }
            failing.close()
            _ = message
            try await QueueRecovery(queue).recover()
        }
        #expect(try await queue.deadLetters().map { String(decoding: $0.payload, as: UTF8.self) }.last == "job")
        #expect(try await queue.redriveAll() >= 1)
        #expect(try await Set(store.children(of: "/queue").names).isSuperset(of: Self.folders))
    }

    @Test("After `consumers` was restored, no consumer gets a living consumer's name")
    func restoredConsumers() async throws {
        let zookeeper = InMemoryZooKeeper()
        let (store, other) = (zookeeper.connect(), zookeeper.connect())
        let queue = try MessageQueue(store: store)
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
        await producer.close()
        let first = QueueConsumer(queue, configuration: .init(prefetch: 1))
        var firstMessages = first.makeAsyncIterator()
        let lost = try #require(try await firstMessages.next())
        try await remove("consumers", zookeeper.connect())
        let second = QueueConsumer(try MessageQueue(store: other), configuration: .init(prefetch: 1))
        var secondMessages = second.makeAsyncIterator()
        let held = try #require(try await secondMessages.next())
        #expect(held.payload == Array("b".utf8))
        await expect(.leaseLost) { try await lost.acknowledge() }
        try await QueueRecovery(queue).recover()
        #expect(held.leaseState == .held)
        try await held.acknowledge()
        await first.close()
        await second.close()
    }

    @Test("After `items` was restored, a claim of an old item does not claim a new one")
    func restoredItems() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        let producer = QueueProducer(queue)
        try await producer.send("old")
        let epoch = try await queue.reader.sequenceEpoch()
        try await remove("items", store)
        try await producer.send("new")
        await producer.close()
        #expect(try await queue.reader.sequenceEpoch().number == epoch.number + 1)
        // The claim of a consumer that read the old item, which had the same name and version.
        let error = await #expect(throws: ZooKeeperError.self) {
            try await store.multi([
                epoch.check(in: queue.tree), .delete("/queue/items/item-100-0000000000", version: 0),
            ])
        }
        #expect(error?.code == .badVersion)
        #expect(try await queue.drain() == ["new"])
    }

    @Test("After `epoch` was restored, the messages in `earlier` are still delivered")
    func restoredEpochServesEarlier() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        _ = try await store.create("/queue/earlier/item-100-0000000007", data: Array("old".utf8), mode: .persistent)
        try await store.delete("/queue/epoch", version: nil)
        try await QueueRecovery(queue).recover()
        #expect(try await queue.drain() == ["old"])
    }

    @Test("A restored folder has the root's access control list")
    func accessControl() async throws {
        let store = InMemoryZooKeeper().connect(identities: [.init(scheme: "digest", id: "owner")])
        let acl = [ACL(.all, scheme: "digest", id: "owner"), .world(.read)]
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        try await store.setACL(of: "/queue", to: acl)
        try await store.delete("/queue/dead", version: nil)
        try await QueueRecovery(queue).recover()
        #expect(try await store.aclEntries(of: "/queue/dead") == acl)
    }

    @Test("A queue is missing only when its root is missing")
    func missingRoot() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store, createIfMissing: false)
        await expect(.queueNotFound) { try await queue.prepare() }
        await expect(.queueNotFound) { try await QueueRecovery(queue).recover() }
        _ = try await store.create("/queue", data: [], mode: .persistent)
        try await queue.prepare()
        #expect(try await Set(store.children(of: "/queue").names) == Set(Self.folders))
    }

    @Test("A restored epoch is higher than the epoch of every message")
    func restoredEpoch() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store).creating(with: .init(sequenceRolloverThreshold: 1))
        let producer = QueueProducer(queue)
        for round in 0..<3 {
            try await producer.send("\(round)")
            try await QueueRecovery(queue).recover()
        }
        #expect(try await queue.reader.sequenceEpoch().number == 3)
        try await store.delete("/queue/epoch", version: nil)
        try await producer.send("later")
        #expect(try await queue.reader.sequenceEpoch().number >= 3)
        await producer.close()
        #expect(try await queue.drain() == ["0", "1", "2", "later"])
    }

    @Test("A producer restores a removed folder and continues", arguments: ["items", "producers", "epoch"])
    func producerRestoresFolder(_ folder: String) async throws {
        let zookeeper = InMemoryZooKeeper()
        let producer = QueueProducer(try MessageQueue(store: zookeeper.connect()))
        try await producer.send("one")
        try await zookeeper.deleteAll("/queue/\(folder)")
        try await producer.send("two")
        await producer.close()
        #expect(zookeeper.payloads == (folder == "items" ? ["two"] : ["one", "two"]))
    }

    @Test("A send fails after the root of its queue was removed")
    func removedRoot() async throws {
        let zookeeper = InMemoryZooKeeper()
        let producer = QueueProducer(
            try MessageQueue(store: zookeeper.connect(), createIfMissing: false))
        try await MessageQueue(store: zookeeper.connect("owner")).prepare()
        try await producer.send("one")
        try await zookeeper.deleteAll("/queue")
        await expect(.queueNotFound) { try await producer.send("two") }
        await producer.close()
        #expect(zookeeper.payloads == [])
    }
}
