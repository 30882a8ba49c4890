import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper
@testable import ZooKeeperQueue

/// Rollovers of the server's sequence numbers, and the limits of other numbers.
@Suite(.timeLimit(.minutes(2)))
struct SequenceRolloverTests {
    @Test("Messages with old names keep their positions before new messages")
    func oldMessagesFirst() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 5)) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(
                contentsOf: ["dead", "leased", "requeued", "ready", "ready too"].map { OutgoingMessage($0) })
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 3))
            var messages = consumer.makeAsyncIterator()
            try await messages.next()?.deadLetter(reason: "tried")
            let leased = try #require(try await messages.next())
            let held = try #require(try await messages.next())
            try await producer.send("first", priority: 0)
            #expect(try await QueueRecovery(queue).recover().sequenceRollovers == 1)
            #expect(try await client.children(of: "/queue/items").names.isEmpty)
            // The consumer has already claimed another message in place of the dead letter.
            #expect(try await queue.statistics().ready == 2)

            let name = try await producer.send("new").nodeName
            #expect(name == "item-100-e1-0000000000")
            #expect(try await client.exists("/queue/items/item-100-0000000000") != nil)
            try await held.requeue()
            try await queue.redrive("item-100-0000000000")
            let payloads = try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }
            // The consumer may have claimed the urgent message although its buffer is full.
            #expect(payloads.filter { $0 != "first" } == ["dead", "requeued", "ready too", "new"])
            try await leased.requeue()
            await consumer.close()
            await producer.close()
            #expect(try await queue.drain() == ["first", "dead", "leased", "requeued", "ready", "ready too", "new"])
            try await queue.expectEmptyTree()
        }
    }

    @Test("The same name in another epoch is another message", arguments: [1, 3])
    func reusedNames(batchSize: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batchSize, sequenceRolloverThreshold: 1)) {
            client, queue in
            let producer = QueueProducer(queue)
            let recovery = QueueRecovery(queue)
            var names: Set<String> = []
            for epoch in 0..<20 {
                let receipts = try await producer.send(contentsOf: (0..<4).map { OutgoingMessage("\(epoch)-\($0)") })
                names.formUnion(receipts.compactMap(\.nodeName))
                #expect(try await recovery.recover().sequenceRollovers == 1)
            }
            await producer.close()
            #expect(names.count == 80)
            #expect(try await queue.drain() == (0..<20).flatMap { epoch in (0..<4).map { "\(epoch)-\($0)" } })
            #expect(try await client.children(of: "/queue/earlier").names.isEmpty)
        }
    }

    @Test("A rollover moves foreign nodes, and waits for an item that is being written")
    func foreignNodes() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { client, queue in
            try await queue.prepare()
            try await client.create("/queue/items/notes", data: [1])
            try await client.create("/queue/items/item-100-7", data: Array("odd".utf8))
            let incomplete = try await client.create("/queue/items/item-100-", mode: .persistentSequential).path
            let recovery = QueueRecovery(queue)
            #expect(try await recovery.recover().sequenceRollovers == 0)
            try await client.set(incomplete, data: Array("late".utf8))
            #expect(try await recovery.recover().sequenceRollovers == 1)
            try await client.create("/queue/items/item-100-", data: Array("new".utf8), mode: .persistentSequential)
            #expect(try await queue.drain() == ["late", "odd", "new"])
            #expect(try await client.get("/queue/earlier/notes").data == [1])
        }
    }

    @Test("A blocked rollover stops neither the recovery nor producers")
    func blockedRollover() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { client, queue in
            try await queue.prepare()
            try await client.create("/queue/items/notes", data: [1])
            try await client.create("/queue/items/notes/child")
            let recovery = QueueRecovery(queue)
            #expect(try await recovery.recover().sequenceRollovers == 0)
            #expect(try await client.get("/queue/epoch").data == Array("0 moving".utf8))
            let producer = QueueProducer(queue)
            try await producer.send("a")
            #expect(try await queue.drain() == ["a"])
            try await client.delete("/queue/items/notes/child")
            #expect(try await recovery.recover().sequenceRollovers == 1)
            // The node is created again, while `earlier` already contains one with its name.
            try await client.create("/queue/items/notes", data: [2])
            #expect(try await recovery.recover().sequenceRollovers == 1)
            #expect(try await client.children(of: "/queue/earlier").names.count == 2)
            // A message that is larger than this recovery may send.
            try await withAnotherClient(like: client) { other in
                let large = [UInt8](repeating: 1, count: 600_000)
                let configuration = try ZooKeeperConfiguration(servers: other.address, maximumRequestSize: 1_000_000)
                try await ZooKeeperClient.withClient(configuration: configuration) {
                    _ = try await $0.create("/queue/items/item-100-", data: large, mode: .persistentSequential)
                }
            }
            #expect(try await recovery.recover().sequenceRollovers == 0)
            try await producer.send("b")
            await producer.close()
            #expect(try await queue.drain() == ["b"])
        }
    }

    @Test("A rollover keeps the access control list of `items`")
    func accessControl() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("a")
            await producer.close()
            let acl: [ACL] = [.world([.read, .create, .delete])]
            try await client.setACL(of: "/queue/items", to: acl)
            #expect(try await QueueRecovery(queue).recover().sequenceRollovers == 1)
            #expect(try await client.acl(of: "/queue/items").entries == acl)
        }
    }

    @Test("A name that was skipped in one epoch is delivered in the next")
    func skippedName() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { client, queue in
            let (producer, recovery) = (QueueProducer(queue), QueueRecovery(queue))
            try await producer.send("held")
            let unknownVersion: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51, 200, 1, 0, 0, 0, 0]
            try await client.create("/queue/items/item-100-", data: unknownVersion, mode: .persistentSequential)
            // The consumer has read both messages, and lists again only when its buffer has room.
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            #expect(try await recovery.recover().sequenceRollovers == 1)
            try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) })
            try await held.acknowledge()
            for name in ["item-100-e1-0000000000", "item-100-e1-0000000001"] {
                let message = try #require(try await messages.next(within: .seconds(5)))
                #expect(message.nodeName == name)
                try await message.acknowledge()
            }
            await producer.close()
            await consumer.close()
        }
    }

    @Test("A consumer receives all messages in order while a long queue moves")
    func orderWhileMoving() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1_000)) { client, queue in
            let producer = QueueProducer(queue)
            let sent = (0..<6_000).map(String.init)
            try await producer.send(contentsOf: sent.prefix(4_000).map { OutgoingMessage($0) })
            let consumer = QueueConsumer(queue)
            let received = Task {
                var payloads: [String] = []
                for try await message in consumer {
                    payloads.append(String(decoding: message.payload, as: UTF8.self))
                    try await message.acknowledge()
                    if payloads.count == sent.count { break }
                }
                return payloads
            }
            async let rollovers = Task {
                var count = 0
                while count < 2 { count += try await QueueRecovery(queue).recover().sequenceRollovers }
                return count
            }.value
            for payload in sent.dropFirst(4_000) { try await producer.send(payload) }
            _ = try await rollovers
            await producer.close()
            #expect(try await received.value == sent)
            await consumer.close()
            try await queue.expectEmptyTree()
        }
    }

    @Test("After a rollover, a waiting consumer notices old and new messages")
    func waitingConsumer() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { _, queue in
            let (producer, recovery) = (QueueProducer(queue), QueueRecovery(queue))
            let consumer = QueueConsumer(queue)
            let (received, report) = AsyncStream.makeStream(of: QueueMessage.self)
            let receiving = Task { for try await message in consumer { report.yield(message) } }
            var arrivals = received.makeAsyncIterator()
            try await producer.send("a")
            let first = try #require(await arrivals.next())
            #expect(try await recovery.recover().sequenceRollovers == 1)
            // The requeued message is in `earlier`, where the same consumer finds it.
            try await first.requeue()
            let again = try #require(await arrivals.next())
            #expect(again.deliveryCount == 2 && again.nodeName == "item-100-0000000000.1")
            try await again.acknowledge()
            try await producer.send("b")
            let second = try #require(await arrivals.next())
            #expect(second.payload == Array("b".utf8) && second.nodeName == "item-100-e1-0000000000")
            try await second.acknowledge()
            await producer.close()
            await consumer.close()
            try await receiving.value
            try await queue.expectEmptyTree()
        }
    }

    @Test("A queue that is too long for one multi rolls over")
    func longQueue() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1_000)) { client, queue in
            let producer = QueueProducer(queue)
            let sent = (0..<5_000).map(String.init)
            try await producer.send(contentsOf: sent.map { OutgoingMessage($0) })
            #expect(try await QueueRecovery(queue).recover().sequenceRollovers == 1)
            #expect(try await client.children(of: "/queue/earlier").names.count == 5_000)
            try await producer.send("last")
            await producer.close()
            #expect(try await queue.drain(prefetch: 128) == sent + ["last"])
            try await queue.expectEmptyTree()
        }
    }

    @Test("A producer creates another node when its node has counted enough batches")
    func producerLimit() async throws {
        try await withTestQueue { client, queue in
            var configuration = QueueProducer.Configuration(sendTimeout: .seconds(20))
            (configuration.minimumBatch, configuration.batchesOfANode) = (1, 3)
            let producer = QueueProducer(queue, configuration: configuration)
            try await withThrowingDiscardingTaskGroup { group in
                for number in 0..<40 { group.addTask { try await producer.send("\(number)") } }
            }
            let sent = (40..<60).map(String.init)
            for payload in sent { try await producer.send(payload) }
            await producer.close()
            let producers = try #require(try await client.exists("/queue/producers")).childrenCreated
            #expect(producers > 6)
            let payloads = try await queue.drain()
            #expect(Set(payloads).count == 60 && payloads.suffix(20) == sent)
            try await queue.expectEmptyTree()
        }
    }

    @Test("A consumer registers again when its node has counted enough transactions", arguments: [1, 10])
    func consumerLimit(prefetch: Int) async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            let sent = (0..<200).map(String.init)
            try await producer.send(contentsOf: sent.map { OutgoingMessage($0) })
            await producer.close()
            var configuration = QueueConsumer.Configuration(prefetch: prefetch)
            configuration.transactionsOfARegistration = 4
            let consumer = QueueConsumer(queue, configuration: configuration)
            var payloads: [String] = []
            for try await message in consumer {
                payloads.append(String(decoding: message.payload, as: UTF8.self))
                try await message.acknowledge()
                if payloads.count == sent.count { break }
            }
            await consumer.close()
            #expect(payloads == sent)
            let registrations = try #require(try await client.exists("/queue/consumers")).childrenCreated
            #expect(registrations > 5)
            try await queue.expectEmptyTree()
        }
    }

    @Test("A rollover at the server's real last number loses no message")
    func lastNumber() async throws {
        let ensemble = try LocalEnsemble(.forTests())
        try await ensemble.start()
        let configuration = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(10))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let queue = try MessageQueue(client)
            try await queue.prepare()
            try await client.create("/queue/items/item-100-", data: Array("oldest".utf8), mode: .persistentSequential)
            try await ServerAge.set(childrenCreated: .max - 20, of: "/queue/items", in: ensemble)
            let stat = try #require(try await client.exists("/queue/items"))
            #expect(stat.childrenCreated == Int(Int32.max) - 20)

            // The numbers of consumers end too, and do not roll over.
            try await ServerAge.set(childrenCreated: .max, of: "/queue/consumers", in: ensemble)
            try await client.create("/queue/consumers/consumer-", mode: .persistentSequential)
            let consumer = QueueConsumer(queue)
            let total = 1 + 30 + 2_000
            let received = Task {
                var payloads: [String] = []
                for try await message in consumer {
                    payloads.append(String(decoding: message.payload, as: UTF8.self))
                    try await message.acknowledge()
                    if payloads.count == total { break }
                }
                return payloads
            }
            let (refusals, report) = AsyncStream.makeStream(of: Void.self)
            try await withThrowingDiscardingTaskGroup { group in
                for name in ["a", "b"] {
                    group.addTask {
                        let producer = QueueProducer(queue)
                        for number in 0..<1_000 { try await producer.send("\(name)\(number)") }
                        await producer.close()
                    }
                }
                // A plain client, which retries until it succeeds, and ignores the queue's protocol.
                group.addTask {
                    for number in 0..<30 {
                        while true {
                            do {
                                let path = "/queue/items/item-100-"
                                try await client.create(
                                    path, data: Array("f\(number)".utf8), mode: .persistentSequential)
                                break
                            } catch let error as ZooKeeperError where error.code == .nodeExists {
                                report.yield()
                            }
                        }
                    }
                }
                // The recovery starts only when the server has no number left.
                group.addTask {
                    for await _ in refusals { break }
                    let recovery = QueueRecovery(queue)
                    while try await recovery.recover().sequenceRollovers == 0 {}
                }
            }
            let payloads = try await received.value
            await consumer.close()
            #expect(Set(payloads).count == total && payloads.first == "oldest")
            for name in ["a", "b"] {
                #expect(payloads.filter { $0.hasPrefix(name) } == (0..<1_000).map { "\(name)\($0)" })
            }
            // This node took the last number above. The recovery may have removed it already.
            try? await client.delete("/queue/consumers/consumer-2147483647")
            try await queue.expectEmptyTree()
        }
        await ensemble.stop()
    }
}
