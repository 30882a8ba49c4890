import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

@Suite(.timeLimit(.minutes(2)))
struct RecoveryTests {
    /// Lets a consumer claim messages, and closes its client without closing the consumer, as a crash would.
    private func crash(holding count: Int, of queue: MessageQueue, like client: ZooKeeperClient) async throws {
        try await withAnotherClient(like: client) { other in
            let consumer = QueueConsumer(try MessageQueue(other), configuration: .init(prefetch: count))
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            while try await queue.statistics().leased < count { await Task.yield() }
            // The session ends, but the consumer is not closed.
            await other.close()
            _ = message
        }
    }

    @Test(
        "A recovery without a pause, a retention or an age is rejected before anything is sent",
        arguments: [
            QueueRecovery.Configuration(interval: .zero), .init(producerStateRetention: .zero),
            .init(incompleteItemAge: .seconds(-1)),
        ])
    func invalidConfiguration(_ configuration: QueueRecovery.Configuration) async throws {
        let store = InMemoryZooKeeper().connect()
        let recovery = QueueRecovery(try MessageQueue(store: store), configuration: configuration)
        await expect(.invalidArgument) { try await recovery.recover() }
        await expect(.invalidArgument) { try await recovery.run() }
        #expect(store.callCount == 0)
    }

    @Test("A crashed consumer's messages return in their old order")
    func crashedConsumer() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<20).map { OutgoingMessage("\($0)") })
            await producer.close()
            try await crash(holding: 10, of: queue, like: client)
            #expect(try await queue.statistics().leased == 10)
            let report = try await QueueRecovery(queue).recover()
            #expect(report.recovered == 10 && report.redelivered == 10 && report.consumersRemoved == 1)
            var counts: [Int] = []
            let payloads = try await queue.drain {
                counts.append($0.deliveryCount)
                try await $0.acknowledge()
            }
            #expect(payloads == (0..<20).map(String.init))
            #expect(counts == .init(repeating: 2, count: 10) + .init(repeating: 1, count: 10))
            try await queue.expectEmptyTree()
        }
    }

    @Test("A recovery takes no message from a living consumer")
    func livingConsumer() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<5).map { OutgoingMessage("\($0)") })
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            let report = try await QueueRecovery(queue).recover()
            #expect(report.isEmpty)
            // Not even a recovery with an outdated view can take one.
            let name = try #require(try await client.children(of: "/queue/consumers").names.first)
            let error = await #expect(throws: ZooKeeperError.self) {
                try await client.multi([
                    .create("/queue/consumers/\(name)/active", data: []),
                    .delete("/queue/consumers/\(name)/item/\(message.nodeName)"),
                ])
            }
            #expect(error?.code == .nodeExists && error?.operationIndex == 0)
            try await message.acknowledge()
            await consumer.close()
            await producer.close()
        }
    }

    @Test("Concurrent recoveries do no harm")
    func concurrentRecoveries() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<150).map { OutgoingMessage("\($0)") })
            await producer.close()
            try await crash(holding: 150, of: queue, like: client)
            let lock = try await client.create("/queue/gc-lock", data: [1])
            let recovered = try await withThrowingTaskGroup(of: RecoveryReport.self) { group in
                for _ in 0..<4 {
                    // Without the lock, which two recoveries can hold for a moment when a session ends.
                    group.addTask {
                        let mover = MessageMover(queue)
                        let ages = NodeAges(
                            now: lock.stat.ctime, store: queue.store, observations: Observations())
                        var consumers = ConsumerRecovery(queue: queue, mover: mover, ages: ages)
                        try await consumers.run()
                        var redelivery = Redelivery(queue: queue, mover: mover, ages: ages)
                        try await redelivery.run()
                        return redelivery.report
                    }
                }
                return try await group.reduce(0) { $0 + $1.redelivered }
            }
            #expect(recovered == 150)
            try await client.delete("/queue/gc-lock")
            try await QueueRecovery(queue).recover()
            #expect(try await queue.drain() == (0..<150).map(String.init))
            try await queue.expectEmptyTree()
        }
    }

    @Test("Redelivery respects the delay and the maximum number of deliveries")
    func redelivery() async throws {
        let attributes = QueueAttributes(maximumDeliveries: 2, redeliveryDelay: .seconds(3_600))
        try await withTestQueue(attributes: attributes) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            try await crash(holding: 1, of: queue, like: client)
            let report = try await QueueRecovery(queue).recover()
            #expect(report.recovered == 1 && report.redelivered == 0)
            try await queue.expectStatistics(ready: 0, leased: 0, partial: 1, dead: 0, consumers: 0)
            let prompt = try MessageQueue(client)
            try await prompt.update { $0.maximumDeliveries = 2 }
            try await prompt.update { $0.redeliveryDelay = .zero }
            #expect(try await QueueRecovery(prompt).recover().redelivered == 1)
            try await crash(holding: 1, of: queue, like: client)
            #expect(try await QueueRecovery(prompt).recover().deadLettered == 1)
            let letter = try #require(try await queue.deadLetters().first)
            #expect(letter.payload == Array("x".utf8) && letter.reason.contains("delivered 2 times"))
        }
    }

    @Test("A recovery removes unneeded nodes, and keeps those in use")
    func unneededNodes() async throws {
        var configuration = QueueRecovery.Configuration(
            producerStateRetention: .milliseconds(1), incompleteItemAge: .milliseconds(1))
        configuration.cleaningInterval = .zero
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            let item = try await client.create("/queue/items/item-100-", mode: .persistentSequential)
            try await client.create("/queue/consumers/consumer-0000000077")
            // The ensemble's clock must advance by more than the configured millisecond.
            while try await client.set("/queue/consumers/consumer-0000000077", data: []).mtime <= item.stat.ctime + 1 {}
            // The first pass observes the nodes, and the second one removes those that have not changed.
            let recovery = QueueRecovery(queue, configuration: configuration)
            #expect(try await recovery.recover().isEmpty)
            let report = try await recovery.recover()
            #expect(report.producerStatesRemoved == 1 && report.incompleteItemsRemoved == 1)
            // The consumer's node is too young: a foreign client may be about to register.
            #expect(report.consumersRemoved == 0)
            // The producer creates another node.
            try await producer.send("y")
            await producer.close()
            #expect(try await queue.drain() == ["x", "y"])
        }
    }

    @Test("A jump of the servers' clock removes nothing early")
    func clockJump() async throws {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let queue = try MessageQueue(store: zookeeper.connect())
        let producer = QueueProducer(queue)
        try await producer.send(OutgoingMessage("x", id: "id"))
        let store = zookeeper.connect()
        let item = try await store.create("/queue/items/item-100-", data: nil, mode: .persistentSequential).path
        let recovery = QueueRecovery(queue)
        try await recovery.recover()
        zookeeper.jumpServerClock(by: .seconds(86_400))
        for _ in 0..<3 {
            await clock.advance(by: .seconds(61))
            let report = try await recovery.recover()
            #expect(
                report.producerStatesRemoved == 0 && report.incompleteItemsRemoved == 0
                    && report.deduplicationIDsExpired == 0)
        }
        #expect(try await producer.send(OutgoingMessage("x", id: "id")).isDuplicate)
        #expect(try await store.exists(item) != nil)
        // They are removed when the time has also passed on this process's clock.
        await clock.advance(by: .seconds(3_600))
        let report = try await recovery.recover()
        #expect(report.producerStatesRemoved == 1 && report.incompleteItemsRemoved == 1)
        await producer.close()
    }

    @Test("The service recovers messages until it is shut down")
    func service() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            try await crash(holding: 1, of: queue, like: client)
            let recovery = QueueRecovery(queue, configuration: .init(interval: .milliseconds(50)))
            try await testGracefulShutdown { trigger in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await recovery.run() }
                    #expect(try await queue.drain(waiting: .seconds(20), until: "x") == ["x"])
                    await expect(.alreadyRunning) { try await recovery.run() }
                    trigger.triggerGracefulShutdown()
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("A recovery skips a lock with its own identity that cannot be deleted")
    func undeletableLock() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        let lock = RecoveryLock(queue, at: queue.tree.recoveryLock)
        _ = try await store.create("/queue/gc-lock", data: lock.identity, mode: .persistent)
        _ = try await store.create("/queue/gc-lock/child", data: nil, mode: .persistent)
        #expect(try await lock.acquire().now > 0)
        #expect(queue.skippedNodes().map(\.path) == ["/queue/gc-lock"])
    }
}

extension MessageQueue {
    /// Receives and acknowledges messages up to and including the one with this payload.
    fileprivate func drain(waiting limit: Duration, until last: String) async throws -> [String] {
        let consumer = QueueConsumer(self)
        var messages = consumer.makeAsyncIterator()
        var payloads: [String] = []
        while payloads.last != last, let message = try await messages.next(within: limit) {
            payloads.append(String(decoding: message.payload, as: UTF8.self))
            try await message.acknowledge()
        }
        await consumer.close()
        return payloads
    }
}
