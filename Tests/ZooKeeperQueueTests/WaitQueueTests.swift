import Synchronization
import Testing
import TestSupport
import ZooKeeperTestKit

@testable import ZooKeeper
@testable import ZooKeeperQueue

/// Idle consumers, on the in-memory ZooKeeper, whose calls can be counted.
@Suite(.timeLimit(.minutes(1)))
struct WaitQueueTests {
    private func untilInLine(_ count: Int, _ zookeeper: InMemoryZooKeeper) async throws {
        let queue = try MessageQueue(store: zookeeper.connect("onlooker"))
        let store = queue.store
        try await queue.prepare()
        for try await children in store.childrenUpdates(of: queue.tree.idle) where children?.names.count == count {
            return
        }
    }

    /// Consumers, each of which takes messages until it is cancelled.
    private func withIdleConsumers(
        _ count: Int, handler: @escaping @Sendable (QueueMessage) async throws -> Void,
        seeing call: @escaping @Sendable (RequestContext) -> Void = { _ in },
        _ body: (InMemoryZooKeeper, [InMemorySession]) async throws -> Void
    ) async throws {
        let zookeeper = InMemoryZooKeeper()
        let sessions = (0..<count).map { number in
            zookeeper.connect(
                "consumer\(number)",
                faults: { site in
                    call(site)
                    return nil
                })
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for session in sessions {
                group.addTask {
                    for try await message in QueueConsumer(try MessageQueue(store: session)) {
                        try await handler(message)
                    }
                }
            }
            try await untilInLine(count, zookeeper)
            try await body(zookeeper, sessions)
            group.cancelAll()
        }
    }

    @Test func aMessageWakesOneOfMany() async throws {
        let (taken, report) = AsyncStream.makeStream(of: Void.self)
        let reads = Mutex(0)
        try await withIdleConsumers(50) { message in
            try await message.acknowledge()
            report.yield()
        } seeing: { site in
            // Those who have just come still look for their places.
            if site.isRead, site.path.hasPrefix("/queue/items") { reads.withLock { $0 += 1 } }
        } _: { zookeeper, _ in
            var arrivals = taken.makeAsyncIterator()
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            for _ in 0..<5 {
                let before = reads.withLock { $0 }
                try await producer.send("x")
                _ = await arrivals.next()
                // A list, the message, and a list to wait again; and those of the next in line, if the first has left.
                #expect(reads.withLock { $0 } - before <= 5)
            }
            await producer.close()
        }
    }

    /// While the handlers of the first ones are busy, the next in line take what comes, each at once.
    @Test func theBusyLeaveTheirPlaceToTheNext() async throws {
        let (taken, report) = AsyncStream.makeStream(of: String.self)
        try await withIdleConsumers(5) { message in
            report.yield(String(decoding: message.payload, as: UTF8.self))
            // Busy until the end of the test.
            try await Task.sleep(for: .seconds(60))
        } _: { zookeeper, _ in
            var arrivals = taken.makeAsyncIterator()
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            for number in 0..<5 {
                try await producer.send("\(number)")
                #expect(await arrivals.next() == "\(number)")
            }
            await producer.close()
        }
    }

    @Test func theLineClosesUpWhenTheFirstOnesFail() async throws {
        let (taken, report) = AsyncStream.makeStream(of: Void.self)
        try await withIdleConsumers(6) { message in
            try await message.acknowledge()
            report.yield()
        } _: { zookeeper, sessions in
            var arrivals = taken.makeAsyncIterator()
            for session in sessions.prefix(3) { session.close() }
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            try await producer.send("x")
            #expect(await arrivals.next() != nil)
            await producer.close()
        }
    }

    /// In a queue from before there was a line, all consumers make its parent at the same time.
    @Test func aQueueWithoutALineGetsOne() async throws {
        let zookeeper = InMemoryZooKeeper()
        let onlooker = zookeeper.connect("onlooker")
        let queue = try MessageQueue(store: onlooker)
        try await queue.prepare()
        try await onlooker.delete(queue.tree.idle, version: nil)
        let (taken, report) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<5 {
                let session = zookeeper.connect("consumer\(number)")
                group.addTask {
                    for try await message in QueueConsumer(try MessageQueue(store: session)) {
                        try await message.acknowledge()
                        report.yield()
                    }
                }
            }
            try await untilInLine(5, zookeeper)
            try await QueueProducer(queue).send("x")
            for await _ in taken { break }
            group.cancelAll()
        }
    }

    /// A consumer that may not stand in line waits by itself.
    @Test func theLineIsNoCondition() async throws {
        let zookeeper = InMemoryZooKeeper()
        let onlooker = zookeeper.connect("onlooker")
        let queue = try MessageQueue(store: onlooker)
        try await queue.prepare()
        try await onlooker.setACL(of: queue.tree.idle, to: [.world([.admin])])
        let consumer = QueueConsumer(try MessageQueue(store: zookeeper.connect("consumer")))
        var messages = consumer.makeAsyncIterator()
        #expect(try await messages.next(within: .milliseconds(1_300)) == nil)
        try await QueueProducer(queue).send("x")
        try await messages.next()?.acknowledge()
        await consumer.close()
    }

    /// What the first in the line has given up, and what comes back under the same name, is new to it.
    @Test func aDeadLetterThatIsSentBackIsTakenAgain() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect("onlooker"))
        let consumer = QueueConsumer(try MessageQueue(store: zookeeper.connect("consumer")))
        let names = Task {
            var names: [String] = []
            for try await message in consumer {
                names.append(message.nodeName)
                if names.count == 2 {
                    try await message.acknowledge()
                    break
                }
                try await message.deadLetter(reason: "tried")
                try await queue.redrive(message.nodeName)
            }
            return names
        }
        try await untilInLine(1, zookeeper)
        let name = try await QueueProducer(queue).send("x").nodeName
        #expect(try await names.value == [name, name])
        await consumer.close()
    }

    /// The watch on a place leaves nothing behind when the place is gone: its name never comes again.
    @Test func aPlaceThatIsGoneIsNoLongerWatched() async throws {
        // The client's own watch for other members would count too.
        try await withTestClient(followsReconfiguration: false) { client in
            try await client.create("/place", mode: .ephemeral)
            let watching = Task {
                var states = 0
                for try await node in client.dataUpdatesUntilDeleted(of: "/place") {
                    states += 1
                    if node == nil { break }
                }
                return states
            }
            while client.connection.watches.watchedBytes == 0 { await Task.yield() }
            try await client.delete("/place")
            #expect(try await watching.value == 2)
            #expect(client.connection.watches.watchedBytes == 0)
        }
    }
}
