import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Folders of the queue that something has removed.
@Suite(.timeLimit(.minutes(2)))
struct FolderTests {
    private static let folders = QueueTree(root: "/queue").parents.map { String($0.dropFirst("/queue/".count)) }

    private func remove(_ folder: String, _ store: InMemorySession) async throws {
        let path = "/queue/" + folder
        // Not restored yet, because nothing has asked for it.
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

    @Test("A queue at work goes on when a folder is removed", arguments: folders)
    func goesOn(folder: String) async throws {
        let zookeeper = InMemoryZooKeeper()
        let store = zookeeper.connect()
        let queue = try MessageQueue(store: store).creating(with: .init(maximumDeliveries: 2))
        let producer = QueueProducer(queue)
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        try await producer.send("before")
        try await #require(try await messages.next()).acknowledge()
        try await remove(folder, store)

        // Given up by a consumer.
        try await producer.send(OutgoingMessage("dead", id: "a"))
        try await #require(try await messages.next()).deadLetter(reason: "tried")
        #expect(try await queue.deadLetters().count == 1)
        // Given back.
        try await producer.send("again")
        try await #require(try await messages.next()).requeue()
        try await #require(try await messages.next()).acknowledge()
        await producer.close()
        await consumer.close()

        // Recovered from a failed consumer, twice, so that the second time makes it a dead letter.
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

    @Test("After the consumers' folder was restored, no consumer gets the name of another one that lives")
    func restoredConsumers() async throws {
        let zookeeper = InMemoryZooKeeper()
        let (store, other) = (zookeeper.connect(), zookeeper.connect())
        let queue = try MessageQueue(store: store)
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
        await producer.close()
        let first = QueueConsumer(queue, configuration: .init(prefetch: 1))
        var firsts = first.makeAsyncIterator()
        let lost = try #require(try await firsts.next())
        try await remove("consumers", zookeeper.connect())
        let second = QueueConsumer(try MessageQueue(store: other), configuration: .init(prefetch: 1))
        var seconds = second.makeAsyncIterator()
        let held = try #require(try await seconds.next())
        #expect(held.payload == Array("b".utf8))
        await expect(.leaseLost) { try await lost.acknowledge() }
        try await QueueRecovery(queue).recover()
        #expect(held.leaseState == .held)
        try await held.acknowledge()
        await first.close()
        await second.close()
    }

    @Test("After the items' folder was restored, a claim of an item from before takes no new message")
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

    @Test("An epoch that was removed comes back so that older messages are still served")
    func epochKeepsEarlierMessages() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        _ = try await store.create("/queue/earlier/item-100-0000000007", data: Array("old".utf8), mode: .persistent)
        try await store.delete("/queue/epoch", version: nil)
        try await QueueRecovery(queue).recover()
        #expect(try await queue.drain() == ["old"])
    }

    @Test("A folder comes back with the root's access control list")
    func restoresWithTheRootsList() async throws {
        let store = InMemoryZooKeeper().connect(identities: [.init(scheme: "digest", id: "owner")])
        let acl = [ACL(.all, scheme: "digest", id: "owner"), .world(.read)]
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        try await store.setACL(of: "/queue", to: acl)
        try await store.delete("/queue/dead", version: nil)
        try await QueueRecovery(queue).recover()
        #expect(try await store.aclEntries(of: "/queue/dead") == acl)
    }

    @Test("Only a root that is gone is a missing queue")
    func missingRoot() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store, createIfMissing: false)
        await expect(.queueNotFound) { try await queue.prepare() }
        await expect(.queueNotFound) { try await QueueRecovery(queue).recover() }
        _ = try await store.create("/queue", data: [], mode: .persistent)
        try await queue.prepare()
        #expect(try await Set(store.children(of: "/queue").names) == Set(Self.folders))
    }

    @Test("An epoch that was removed comes back above all that the messages' names tell of")
    func epochComesBack() async throws {
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
}

/// What all members of a queue must agree on.
@Suite(.timeLimit(.minutes(2)))
struct SharedDeliveryTests {
    @Test("The queue says how often a message is delivered, whatever a member's own settings are")
    func deliveriesBelongToTheQueue() async throws {
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
        // A change holds for members at work.
        try await owner.redriveAll()
        let consumer = QueueConsumer(other)
        var messages = consumer.makeAsyncIterator()
        let message = try #require(try await messages.next())
        try await owner.update { $0.maximumDeliveries = 1 }
        try await message.requeue()
        #expect(try await owner.statistics().deadLettered == 1)
        await consumer.close()
    }

    @Test("A dead letter's reason is shortened to what fits, and stays readable")
    func longReasons() async throws {
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
