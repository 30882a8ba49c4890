import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeperTestKit

@testable import ZooKeeper
@testable import ZooKeeperQueue

/// Idle consumers on the in-memory ZooKeeper, which can count their requests.
@Suite(.timeLimit(.minutes(1)))
struct WaitQueueTests {
    private func waitForIdle(_ count: Int, _ zookeeper: InMemoryZooKeeper) async throws {
        let queue = try MessageQueue(store: zookeeper.connect("observer"))
        let store = queue.store
        try await queue.prepare()
        for try await children in store.childrenUpdates(of: queue.tree.idle) where children?.names.count == count {
            return
        }
    }

    /// Runs `body` beside idle consumers, each of which passes its messages to `handler`.
    private func withIdleConsumers(
        _ count: Int, handler: @escaping @Sendable (QueueMessage) async throws -> Void,
        onRequest: @escaping @Sendable (RequestContext) -> Void = { _ in },
        _ body: (InMemoryZooKeeper, [InMemorySession]) async throws -> Void
    ) async throws {
        let zookeeper = InMemoryZooKeeper()
        let sessions = (0..<count).map { number in
            zookeeper.connect(
                "consumer\(number)",
                faults: { request in
                    onRequest(request)
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
            try await waitForIdle(count, zookeeper)
            try await body(zookeeper, sessions)
            group.cancelAll()
        }
    }

    @Test("A message wakes one of many idle consumers")
    func wakesOne() async throws {
        let (received, report) = AsyncStream.makeStream(of: Void.self)
        let reads = Mutex(0)
        try await withIdleConsumers(50) { message in
            try await message.acknowledge()
            report.yield()
        } onRequest: { request in
            // Consumers that have just arrived still read the wait queue. These reads do not count.
            if request.isRead, request.path.hasPrefix("/queue/items") { reads.withLock { $0 += 1 } }
        } _: { zookeeper, _ in
            var arrivals = received.makeAsyncIterator()
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            for _ in 0..<5 {
                let before = reads.withLock { $0 }
                try await producer.send("x")
                _ = await arrivals.next()
                // Two listings and the message, and the reads of the next consumer if the first one has left.
                #expect(reads.withLock { $0 } - before <= 5)
            }
            await producer.close()
        }
    }

    @Test("A busy consumer leaves the wait queue to the next one")
    func busyConsumers() async throws {
        let (received, report) = AsyncStream.makeStream(of: String.self)
        try await withIdleConsumers(5) { message in
            report.yield(String(decoding: message.payload, as: UTF8.self))
            // Busy until the end of the test.
            try await Task.sleep(for: .seconds(60))
        } _: { zookeeper, _ in
            var arrivals = received.makeAsyncIterator()
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            for number in 0..<5 {
                try await producer.send("\(number)")
                #expect(await arrivals.next() == "\(number)")
            }
            await producer.close()
        }
    }

    @Test("The next consumer becomes the first when those before it fail")
    func failedConsumers() async throws {
        let (received, report) = AsyncStream.makeStream(of: Void.self)
        try await withIdleConsumers(6) { message in
            try await message.acknowledge()
            report.yield()
        } _: { zookeeper, sessions in
            var arrivals = received.makeAsyncIterator()
            for session in sessions.prefix(3) { session.close() }
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            try await producer.send("x")
            #expect(await arrivals.next() != nil)
            await producer.close()
        }
    }

    @Test("Consumers create the folder of the wait queue when it is missing")
    func missingFolder() async throws {
        // All consumers of a queue of an older release create the folder at the same time.
        let zookeeper = InMemoryZooKeeper()
        let observer = zookeeper.connect("observer")
        let queue = try MessageQueue(store: observer)
        try await queue.prepare()
        try await observer.delete(queue.tree.idle, version: nil)
        let (received, report) = AsyncStream.makeStream(of: Void.self)
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
            try await waitForIdle(5, zookeeper)
            try await QueueProducer(queue).send("x")
            for await _ in received { break }
            group.cancelAll()
        }
    }

    @Test("A consumer that may not join the wait queue waits on its own")
    func missingPermission() async throws {
        let zookeeper = InMemoryZooKeeper()
        let observer = zookeeper.connect("observer")
        let queue = try MessageQueue(store: observer)
        try await queue.prepare()
        try await observer.setACL(of: queue.tree.idle, to: [.world([.admin])])
        let consumer = QueueConsumer(try MessageQueue(store: zookeeper.connect("consumer")))
        var messages = consumer.makeAsyncIterator()
        #expect(try await messages.next(within: .milliseconds(1_300)) == nil)
        try await QueueProducer(queue).send("x")
        try await messages.next()?.acknowledge()
        await consumer.close()
    }

    @Test("The first consumer claims a redriven message of the same name again")
    func redrivenMessage() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect("observer"))
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
        try await waitForIdle(1, zookeeper)
        let name = try await QueueProducer(queue).send("x").nodeName
        #expect(try await names.value == [name, name])
        await consumer.close()
    }

    @Test("The watch on a position ends when the position is removed")
    func removedPosition() async throws {
        // The client's watch for reconfigurations would count too.
        try await withTestClient(followsReconfiguration: false) { client in
            try await client.create("/position", mode: .ephemeral)
            let watching = Task {
                var states = 0
                for try await node in client.dataUpdatesUntilDeleted(of: "/position") {
                    states += 1
                    if node == nil { break }
                }
                return states
            }
            while client.connection.watches.watchedBytes == 0 { await Task.yield() }
            try await client.delete("/position")
            #expect(try await watching.value == 2)
            #expect(client.connection.watches.watchedBytes == 0)
        }
    }

    @Test(
        "A closed consumer leaves no position behind, also when the reply came too late that it joined the wait queue")
    func lateReply() throws {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        let left = try simulation.run {
            let creates = Mutex(0)
            let (joined, report) = AsyncStream.makeStream(of: Void.self)
            let store = zookeeper.connect(
                "consumer", requestTimeout: .seconds(10),
                faults: { request in
                    guard request.request == "create", request.path.hasPrefix("/queue/idle/") else { return nil }
                    report.yield()
                    return creates.withLock { count in
                        count += 1
                        return count == 1 ? .replyTooLate : nil
                    }
                })
            let consumer = QueueConsumer(try MessageQueue(store: store))
            async let received = consumer.first { _ in true }
            for await _ in joined { break }
            // Between the deadline and the moment at which the consumer would join again.
            try await simulation.clock.sleep(for: .milliseconds(10_500))
            try await QueueProducer(try MessageQueue(store: zookeeper.connect("producer"))).send("x")
            try await received?.acknowledge()
            await consumer.close()
            let left = try await store.children(of: "/queue/idle").names
            store.crash()
            return left
        }
        #expect(left == [])
    }

    @Test("A closed consumer leaves no position behind, however often the connection is lost when it leaves")
    func lostConnections() throws {
        let simulation = Simulation(.fixed)
        let left = try simulation.run {
            let deletions = Mutex(0)
            let store = simulation.zookeeper.connect(
                "consumer",
                faults: { request in
                    guard request.request == "delete", request.path.hasPrefix("/queue/idle/") else { return nil }
                    return deletions.withLock { count in
                        count += 1
                        return count <= 5 ? .requestLost : nil
                    }
                })
            let consumer = QueueConsumer(try MessageQueue(store: store))
            let waiting = Task { for try await _ in consumer { break } }
            for try await children in store.childrenUpdates(of: "/queue/idle") where children?.names.count == 1 {
                break
            }
            await consumer.close()
            try await waiting.value
            let left = try await store.children(of: "/queue/idle").names
            #expect(deletions.withLock { $0 } >= 4)
            store.crash()
            return left
        }
        #expect(left == [])
    }

    @Test("A consumer's next position never has the name of its last one")
    func names() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        let waitQueue = WaitQueue(queue: queue, consumer: "consumer-0000000007")
        var former: String?
        for number in 1...3 {
            let position = try await waitQueue.join(after: former)
            #expect(position == "000000000000000000\(number)-consumer-0000000007")
            try await waitQueue.leave(position)
            former = position
        }
    }

    @Test("A consumer that leaves the tree gives up every position with its name")
    func forgottenPosition() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await QueueProducer(queue).send("x")
        let consumer = QueueConsumer(queue)
        // Without an iterator, the consumer would leave the tree by itself.
        var messages = consumer.makeAsyncIterator()
        try await messages.next()?.acknowledge()
        // The consumer does not know of them, as after a lost reply.
        for name in ["0000000000000000001-consumer-0000000000", "0000000000000000002-consumer-0000000001"] {
            _ = try await store.create("/queue/idle/\(name)", data: [], mode: .ephemeral)
        }
        await consumer.close()
        let last = try await messages.next()
        #expect(last == nil)
        #expect(try await store.children(of: "/queue/idle").names == ["0000000000000000002-consumer-0000000001"])
        store.close()
    }
}
