import ServiceLifecycle
import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Odd nodes, which no process can handle, of every kind and in every folder.
@Suite(.timeLimit(.minutes(5)))
struct OddNodeTests {
    private static let payloads = (0..<6).map { "\($0)" }

    /// A queue in memory, with one odd node.
    private struct Fixture {
        let zookeeper = InMemoryZooKeeper()
        let store: InMemorySession
        let queue: MessageQueue
        let path: String

        init(_ node: OddNode, attributes: QueueAttributes = .init()) async throws {
            // As on the strictest servers.
            zookeeper.existsNeedsRead = true
            store = zookeeper.connect()
            queue = try MessageQueue(store: store).creating(with: attributes)
            path = node.path(in: queue.path)
            try await queue.prepare()
            for operations in node.transactions(in: queue.path, maximumRequestSize: store.maximumRequestSize) {
                _ = try await store.multi(operations)
            }
        }

        func send() async throws {
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: OddNodeTests.payloads.map { OutgoingMessage($0, id: "id-\($0)") })
            await producer.close()
        }
    }

    private func ownPayloads(_ payloads: [String]) -> [String] { payloads.filter { Self.payloads.contains($0) } }

    @Test("An odd node blocks no consumer, worker, recovery, rollover, peek, redrive or purge", arguments: OddNode.all)
    func oddNode(_ node: OddNode) async throws {
        try await consumerContinues(node)
        try await workerContinues(node)
        try await recoveryContinues(node)
        try await rolloverContinues(node)
        try await inspectionContinues(node)
        try await deadLettersContinue(node)
        try await delayedMessagesContinue(node)
        print(
            "odd node: \(node): consumer, worker, recovery, rollover, peek, dead letters, purge and delays continue")
    }

    private func consumerContinues(_ node: OddNode) async throws {
        let fixture = try await Fixture(node)
        try await fixture.send()
        #expect(ownPayloads(try await fixture.queue.drain()) == Self.payloads)
    }

    private func workerContinues(_ node: OddNode) async throws {
        let fixture = try await Fixture(node)
        try await fixture.send()
        let handled = Mutex<[String]>([])
        let worker = QueueWorker(QueueConsumer(fixture.queue), concurrency: 2) { message in
            handled.withLock { $0.append(String(decoding: message.payload, as: UTF8.self)) }
        }
        try await withDeadline("the worker's messages") {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                while handled.withLock({ Set(ownPayloads($0)).count }) < Self.payloads.count { await Task.yield() }
                // An idle worker also handles a message that arrives later.
                let producer = QueueProducer(fixture.queue)
                try await producer.send("5")
                await producer.close()
                while handled.withLock({ $0.count { $0 == "5" } }) < 2 { await Task.yield() }
                group.cancelAll()
            }
        }
    }

    private func recoveryContinues(_ node: OddNode) async throws {
        let fixture = try await Fixture(node)
        try await fixture.send()
        let failed = fixture.zookeeper.connect()
        let consumer = QueueConsumer(try MessageQueue(store: failed))
        var messages = consumer.makeAsyncIterator()
        let message = try await messages.next()
        while try await fixture.queue.statistics().leased < Self.payloads.count { await Task.yield() }
        failed.close()
        _ = message
        let recovery = QueueRecovery(
            fixture.queue, configuration: .init(producerStateRetention: .milliseconds(1)))
        try await recovery.recover()
        try await recovery.recover()
        #expect(Set(ownPayloads(try await fixture.queue.drain())) == Set(Self.payloads))
    }

    private func rolloverContinues(_ node: OddNode) async throws {
        let fixture = try await Fixture(node, attributes: .init(sequenceRolloverThreshold: 1))
        try await fixture.send()
        let recovery = QueueRecovery(fixture.queue)
        try await recovery.recover()
        try await recovery.recover()
        let producer = QueueProducer(fixture.queue)
        try await producer.send("later")
        await producer.close()
        let payloads = try await fixture.queue.drain()
        #expect(Set(ownPayloads(payloads)) == Set(Self.payloads) && payloads.contains("later"))
    }

    private func inspectionContinues(_ node: OddNode) async throws {
        let fixture = try await Fixture(node)
        try await fixture.send()
        let queue = fixture.queue
        let peeked = try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(ownPayloads(peeked) == Self.payloads)
        _ = try await (queue.statistics(), queue.sequenceUsage(), queue.oldestMessageAge(), queue.findUnusableNodes())
        #expect(try await queue.purge() >= Self.payloads.count)
        #expect(ownPayloads(try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }).isEmpty)
    }

    private func deadLettersContinue(_ node: OddNode) async throws {
        let fixture = try await Fixture(node)
        try await fixture.send()
        let queue = fixture.queue
        try await queue.drain { try await $0.deadLetter(reason: "tried") }
        #expect(try await queue.deadLetters().count >= Self.payloads.count)
        #expect(try await queue.redriveAll() >= Self.payloads.count)
        try await queue.drain { try await $0.deadLetter(reason: "tried") }
        #expect(try await queue.purgeDeadLetters() >= Self.payloads.count)
    }

    private func delayedMessagesContinue(_ node: OddNode) async throws {
        let fixture = try await Fixture(node)
        let queue = fixture.queue
        let producer = QueueProducer(queue)
        try await producer.send(
            contentsOf: Self.payloads.map { OutgoingMessage($0, delay: .milliseconds($0 == "5" ? 3_600_000 : 1)) })
        await producer.close()
        #expect(try await queue.statistics().delayed >= Self.payloads.count)
        let last = try #require(try await queue.delayedMessages().last)
        #expect(last.payload == Array("5".utf8))
        try await queue.deliverNow(last.nodeName)
        let recovery = QueueRecovery(queue)
        let received = try await withDeadline("the delayed messages") {
            var received: [String] = []
            while received.count < Self.payloads.count {
                try await recovery.recover()
                received += ownPayloads(try await queue.drain())
            }
            return received
        }
        #expect(Set(received) == Set(Self.payloads) && received.count == Self.payloads.count)
    }

    @Test("A skipped node is reported, and is delivered once it is repaired")
    func repairedNode() async throws {
        let fixture = try await Fixture(OddNode(.hasAChild, in: .items))
        try await fixture.send()
        let queue = fixture.queue
        #expect(try await queue.findUnusableNodes() == [SkippedNode(path: fixture.path, reason: .hasChildren)])
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        for payload in Self.payloads {
            let message = try #require(try await messages.next())
            #expect(message.payload == Array(payload.utf8))
            try await message.acknowledge()
        }
        #expect(queue.skippedNodes() == [SkippedNode(path: fixture.path, reason: .hasChildren)])
        #expect(try await queue.statistics().skipped == 1)
        // No event wakes the consumer. It tries again after one, two and four seconds.
        try await fixture.store.delete(fixture.path + "/child", version: nil)
        let repaired = try #require(try await messages.next())
        #expect(repaired.payload == Array("odd".utf8))
        try await repaired.acknowledge()
        #expect(queue.skippedNodes().isEmpty)
        await consumer.close()
    }

    @Test("A consumer that has joined the wait queue tries a skipped node again")
    func repairedNodeOfAnIdleConsumer() throws {
        try simulateQueue { simulation, queue in
            let path = queue.tree.item("item-001-0000000000")
            for path in [path, path + "/child"] {
                _ = try await queue.store.create(path, data: Array("odd".utf8), mode: .persistent)
            }
            let consumer = QueueConsumer(queue)
            let waiting = Task {
                var messages = consumer.makeAsyncIterator()
                try await messages.next()?.acknowledge()
                return try await messages.next(within: .seconds(60))
            }
            // The consumer waits from here on. It joins the wait queue between its second and its third attempt.
            try await simulation.clock.sleep(for: .milliseconds(300))
            let producer = QueueProducer(queue)
            try await producer.send("first")
            await producer.close()
            try await simulation.clock.sleep(for: .milliseconds(2_200))
            #expect(await consumer.state.position.name != nil)
            try await queue.store.delete(path + "/child", version: nil)
            let message = try #require(try await waiting.value)
            #expect(message.payload == Array("odd".utf8))
            try await message.acknowledge()
            await consumer.close()
        }
    }

    @Test("On a real server, odd nodes in several folders block no other message")
    func realServer() async throws {
        try await withTestQueue { client, queue in
            try await queue.prepare()
            try await client.create("/queue/items/item-001-0000000000", data: [1])
            try await client.create("/queue/items/item-001-0000000000/child")
            try await client.create("/queue/items/item-002-0000000000", data: [2], acl: OddNode.others)
            try await client.create("/queue/dead/item-002-0000000001", data: [2], acl: OddNode.others)
            try await client.create("/queue/partial/item-002-0000000002", data: [2], acl: OddNode.others)
            try await client.create("/queue/producers/0", acl: OddNode.others)
            try await client.create("/queue/idle/0000000000000000000-consumer-0000000000")
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: Self.payloads.map { OutgoingMessage($0) })
            await producer.close()
            #expect(try await queue.findUnusableNodes().count == 6)
            #expect(try await queue.peek().count >= Self.payloads.count)
            #expect(try await queue.drain { try await $0.deadLetter(reason: "tried") } == Self.payloads)
            try await QueueRecovery(queue).recover()
            #expect(try await queue.deadLetters().count == Self.payloads.count)
            #expect(try await queue.redriveAll() == Self.payloads.count)
            #expect(try await queue.purge() >= Self.payloads.count)
            #expect(Set(queue.skippedNodes().map(\.path)).isSuperset(of: ["/queue/items/item-001-0000000000"]))
        }
    }
}
