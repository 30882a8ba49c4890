import ServiceLifecycle
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// A node that no member can handle: every folder, every kind of oddness, every member.
@Suite(.timeLimit(.minutes(5)))
struct OddNodeTests {
    private static let payloads = (0..<6).map { "\($0)" }

    /// A queue in memory, with one odd node.
    private struct Scene {
        let zookeeper = InMemoryZooKeeper()
        let store: InMemorySession
        let queue: MessageQueue
        let path: String

        init(_ node: OddNode, attributes: QueueAttributes = .init()) async throws {
            // As the strictest servers have it.
            zookeeper.existsNeedsRead = true
            store = zookeeper.connect()
            queue = try MessageQueue(store: store).creating(with: attributes)
            path = node.path(in: queue.path)
            try await queue.prepare()
            for operations in node.transactions(in: queue.path, maximumRequestSize: store.maximumRequestSize) {
                _ = try await store.multi(operations)
            }
        }

        /// Another process.
        func another() throws -> MessageQueue { try MessageQueue(store: zookeeper.connect()) }

        func send() async throws {
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: OddNodeTests.payloads.map { OutgoingMessage($0, id: "id-\($0)") })
            await producer.close()
        }
    }

    private func ours(_ payloads: [String]) -> [String] { payloads.filter { Self.payloads.contains($0) } }

    @Test(
        "One odd node stops no consumer, worker, recovery, rollover, peek, dead letter or purge",
        arguments: OddNode.all)
    func oddNodeStopsNobody(_ node: OddNode) async throws {
        try await consumerGoesOn(node)
        try await workerGoesOn(node)
        try await recoveryGoesOn(node)
        try await rolloverGoesOn(node)
        try await inspectionGoesOn(node)
        try await deadLettersGoOn(node)
        print("odd node: \(node): consumer, worker, recovery, rollover, peek, dead letters, purge go on")
    }

    private func consumerGoesOn(_ node: OddNode) async throws {
        let scene = try await Scene(node)
        try await scene.send()
        #expect(ours(try await scene.queue.drain()) == Self.payloads)
    }

    private func workerGoesOn(_ node: OddNode) async throws {
        let scene = try await Scene(node)
        try await scene.send()
        let handled = Mutex<[String]>([])
        let worker = QueueWorker(QueueConsumer(scene.queue), concurrency: 2) { message in
            handled.withLock { $0.append(String(decoding: message.payload, as: UTF8.self)) }
        }
        try await withDeadline("the worker's messages") {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                while handled.withLock({ Set(ours($0)).count }) < Self.payloads.count { await Task.yield() }
                // An idle worker stays: what comes later is handled too.
                let producer = QueueProducer(scene.queue)
                try await producer.send("5")
                await producer.close()
                while handled.withLock({ $0.count { $0 == "5" } }) < 2 { await Task.yield() }
                group.cancelAll()
            }
        }
    }

    private func recoveryGoesOn(_ node: OddNode) async throws {
        let scene = try await Scene(node)
        try await scene.send()
        let failed = scene.zookeeper.connect()
        let consumer = QueueConsumer(try MessageQueue(store: failed))
        var messages = consumer.makeAsyncIterator()
        let message = try await messages.next()
        while try await scene.queue.statistics().leased < Self.payloads.count { await Task.yield() }
        failed.close()
        _ = message
        let recovery = QueueRecovery(
            scene.queue, configuration: .init(producerStateRetention: .milliseconds(1)))
        try await recovery.recover()
        try await recovery.recover()
        #expect(Set(ours(try await scene.queue.drain())) == Set(Self.payloads))
    }

    private func rolloverGoesOn(_ node: OddNode) async throws {
        let scene = try await Scene(node, attributes: .init(sequenceRolloverThreshold: 1))
        try await scene.send()
        let recovery = QueueRecovery(scene.queue)
        try await recovery.recover()
        try await recovery.recover()
        let producer = QueueProducer(scene.queue)
        try await producer.send("later")
        await producer.close()
        let payloads = try await scene.queue.drain()
        #expect(Set(ours(payloads)) == Set(Self.payloads) && payloads.contains("later"))
    }

    private func inspectionGoesOn(_ node: OddNode) async throws {
        let scene = try await Scene(node)
        try await scene.send()
        let queue = scene.queue
        let peeked = try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(ours(peeked) == Self.payloads)
        _ = try await (queue.statistics(), queue.sequenceUsage(), queue.oldestMessageAge(), queue.findUnusableNodes())
        #expect(try await queue.purge() >= Self.payloads.count)
        #expect(ours(try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }).isEmpty)
    }

    private func deadLettersGoOn(_ node: OddNode) async throws {
        let scene = try await Scene(node)
        try await scene.send()
        let queue = scene.queue
        try await queue.drain { try await $0.deadLetter(reason: "tried") }
        #expect(try await queue.deadLetters().count >= Self.payloads.count)
        #expect(try await queue.redriveAll() >= Self.payloads.count)
        try await queue.drain { try await $0.deadLetter(reason: "tried") }
        #expect(try await queue.purgeDeadLetters() >= Self.payloads.count)
    }

    @Test("A node that cannot be handled is told, counted, found by doctor, and comes back when it is mended")
    func oddItemComesBack() async throws {
        let scene = try await Scene(OddNode(.hasAChild, in: .items))
        try await scene.send()
        let queue = scene.queue
        #expect(try await queue.findUnusableNodes() == [SkippedNode(path: scene.path, reason: .hasChildren)])
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        for payload in Self.payloads {
            let message = try #require(try await messages.next())
            #expect(message.payload == Array(payload.utf8))
            try await message.acknowledge()
        }
        #expect(queue.skippedNodes() == [SkippedNode(path: scene.path, reason: .hasChildren)])
        #expect(try await queue.statistics().skipped == 1)
        // Nothing but time tells the consumer, which waits: it tries again after a second, two, four.
        try await scene.store.delete(scene.path + "/child", version: nil)
        let mended = try #require(try await messages.next())
        #expect(mended.payload == Array("odd".utf8))
        try await mended.acknowledge()
        #expect(queue.skippedNodes().isEmpty)
        await consumer.close()
    }

    @Test("On a real server: an item with a child, an unreadable one and an unreadable dead letter stop no member")
    func oddNodesOnARealServer() async throws {
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

/// The pauses between attempts at a node that cannot be handled.
struct SkippedNodesTests {
    @Test("The pause doubles up to five minutes, and a mended node starts over")
    func pausesGrow() {
        var nodes = SkippedNodes()
        var now = Duration.zero
        let isNew = nodes.skip("a", in: "/items", .hasChildren, at: now)
        #expect(isNew)
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            #expect(nodes.isSkipped("a", in: "/items", at: now + .seconds(seconds) - .milliseconds(1)))
            now += .seconds(seconds)
            #expect(!nodes.isSkipped("a", in: "/items", at: now))
            let isNewAgain = nodes.skip("a", in: "/items", .hasChildren, at: now)
            #expect(!isNewAgain)
        }
        let wasSkipped = nodes.handled("a", in: "/items")
        #expect(wasSkipped && nodes.count == 0)
        _ = nodes.skip("a", in: "/items", .hasChildren, at: now)
        #expect(!nodes.isSkipped("a", in: "/items", at: now + .seconds(1)))
    }

    @Test("What is no longer in a folder is forgotten, and names are compared by their bytes")
    func forgetsWhatIsGone() {
        var nodes = SkippedNodes()
        let (composed, decomposed) = ("\u{E9}", "e\u{301}")
        for name in [composed, decomposed, "x"] { _ = nodes.skip(name, in: "/items", .unknownName, at: .zero) }
        _ = nodes.skip("x", in: "/dead", .unknownName, at: .zero)
        #expect(nodes.count == 4)
        nodes.keep([composed], in: "/items")
        #expect(nodes.count == 2)
        #expect(nodes.isSkipped(composed, in: "/items", at: .zero))
        #expect(!nodes.isSkipped(decomposed, in: "/items", at: .zero))
        #expect(nodes.isSkipped("x", in: "/dead", at: .zero))
    }
}
