import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper
@testable import ZooKeeperQueue

/// The server's numbers begin anew.
@Suite(.timeLimit(.minutes(2)))
struct SequenceRolloverTests {
    /// Whatever carries an old name keeps its place before what is new.
    @Test func allThatCarriesAnOldNameKeepsItsPlace() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 5)) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(
                contentsOf: ["dead", "leased", "given back", "ready", "ready too"].map { OutgoingMessage($0) })
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 3))
            var messages = consumer.makeAsyncIterator()
            try await messages.next()?.deadLetter(reason: "tried")
            let leased = try #require(try await messages.next())
            let held = try #require(try await messages.next())
            try await producer.send("first", priority: 0)
            #expect(try await QueueRecovery(queue).recover().sequenceRollovers == 1)
            #expect(try await client.children(of: "/queue/items").names.isEmpty)
            // One more is taken already, in the place of the dead one.
            #expect(try await queue.statistics().ready == 2)

            let name = try await producer.send("new").nodeName
            #expect(name == "item-100-e1-0000000000")
            #expect(try await client.exists("/queue/items/item-100-0000000000") != nil)
            try await held.requeue()
            try await queue.redrive("item-100-0000000000")
            let payloads = try await queue.peek().map { String(decoding: $0.payload, as: UTF8.self) }
            // The consumer may have taken the urgent one, although it holds as many as it may.
            #expect(payloads.filter { $0 != "first" } == ["dead", "given back", "ready too", "new"])
            try await leased.requeue()
            await consumer.close()
            await producer.close()
            #expect(try await queue.drain() == ["first", "dead", "leased", "given back", "ready", "ready too", "new"])
            try await queue.expectEmptyTree()
        }
    }

    /// The same name comes again in each epoch, and is another message each time.
    @Test(arguments: [1, 3]) func namesThatComeAgainAreOtherMessages(perNode: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: perNode, sequenceRolloverThreshold: 1)) {
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

    /// Those of another kind of client, and what is no message, move too; what is still being written does not.
    @Test func whatOthersHaveWrittenIsNotLost() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { client, queue in
            try await queue.prepare()
            try await client.create("/queue/items/notes", data: [1])
            try await client.create("/queue/items/item-100-7", data: Array("odd".utf8))
            let unfilled = try await client.create("/queue/items/item-100-", mode: .persistentSequential).path
            let recovery = QueueRecovery(queue)
            #expect(try await recovery.recover().sequenceRollovers == 0)
            try await client.set(unfilled, data: Array("late".utf8))
            #expect(try await recovery.recover().sequenceRollovers == 1)
            try await client.create("/queue/items/item-100-", data: Array("new".utf8), mode: .persistentSequential)
            #expect(try await queue.drain() == ["late", "odd", "new"])
            #expect(try await client.get("/queue/earlier/notes").data == [1])
        }
    }

    /// What stands in the way is told, and neither ends the recovery nor holds up producers.
    @Test func whatStandsInTheWayHarmsNobody() async throws {
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
            // It is made again, and again something of its name is in the way.
            try await client.create("/queue/items/notes", data: [2])
            #expect(try await recovery.recover().sequenceRollovers == 1)
            #expect(try await client.children(of: "/queue/earlier").names.count == 2)
            // A message that is larger than what this recovery may send.
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

    /// Who may do what with the items stays as it was.
    @Test func theRightsStay() async throws {
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

    /// What was passed over in one epoch is another message's name in the next.
    @Test func aNameThatWasPassedOverIsTakenInTheNextEpoch() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { client, queue in
            let (producer, recovery) = (QueueProducer(queue), QueueRecovery(queue))
            try await producer.send("held")
            let fromTheFuture: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51, 200, 1, 0, 0, 0, 0]
            try await client.create("/queue/items/item-100-", data: fromTheFuture, mode: .persistentSequential)
            // It has read both, and looks again only when it has room.
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

    /// A consumer at work while most of a long queue moves, and more comes: all in order.
    @Test func theOrderIsKeptWhileALongQueueMoves() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1_000)) { client, queue in
            let producer = QueueProducer(queue)
            let sent = (0..<6_000).map(String.init)
            try await producer.send(contentsOf: sent.prefix(4_000).map { OutgoingMessage($0) })
            let consumer = QueueConsumer(queue)
            let taken = Task {
                var payloads: [String] = []
                for try await message in consumer {
                    payloads.append(String(decoding: message.payload, as: UTF8.self))
                    try await message.acknowledge()
                    if payloads.count == sent.count { break }
                }
                return payloads
            }
            async let passages = Task {
                var epochs = 0
                while epochs < 2 { epochs += try await QueueRecovery(queue).recover().sequenceRollovers }
                return epochs
            }.value
            for payload in sent.dropFirst(4_000) { try await producer.send(payload) }
            _ = try await passages
            await producer.close()
            #expect(try await taken.value == sent)
            await consumer.close()
            try await queue.expectEmptyTree()
        }
    }

    /// An idle consumer, which waits at the items, is woken by what comes to the new ones and to the earlier ones.
    @Test func aWaitingConsumerGoesOnWaiting() async throws {
        try await withTestQueue(attributes: .init(sequenceRolloverThreshold: 1)) { _, queue in
            let (producer, recovery) = (QueueProducer(queue), QueueRecovery(queue))
            let consumer = QueueConsumer(queue)
            let (taken, report) = AsyncStream.makeStream(of: QueueMessage.self)
            let taking = Task { for try await message in consumer { report.yield(message) } }
            var arrivals = taken.makeAsyncIterator()
            try await producer.send("a")
            let first = try #require(await arrivals.next())
            #expect(try await recovery.recover().sequenceRollovers == 1)
            // Given back to the earlier ones, where the same consumer finds it.
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
            try await taking.value
            try await queue.expectEmptyTree()
        }
    }

    /// Longer than one multi: most of it moves before the last few do.
    @Test func aLongQueuePasses() async throws {
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

    /// The version of a lane ends too, and each batch takes one.
    @Test func aProducerBeginsAnotherLane() async throws {
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

    /// The version of a consumer's node ends too, and each step takes one.
    @Test(arguments: [1, 10]) func aConsumerRegistersAnew(prefetch: Int) async throws {
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

    /// The server's last number passes under load, with a client that knows of nothing among the producers.
    @Test func theRealEndOfTheNumbersIsPassed() async throws {
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

            // Consumers have numbers too, which nothing makes anew.
            try await ServerAge.set(childrenCreated: .max, of: "/queue/consumers", in: ensemble)
            try await client.create("/queue/consumers/consumer-", mode: .persistentSequential)
            let consumer = QueueConsumer(queue)
            let total = 1 + 30 + 2_000
            let taken = Task {
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
                // Of another kind: it tries until it succeeds, and takes no part in anything.
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
                // Only when the server has no number left.
                group.addTask {
                    for await _ in refusals { break }
                    let recovery = QueueRecovery(queue)
                    while try await recovery.recover().sequenceRollovers == 0 {}
                }
            }
            let payloads = try await taken.value
            await consumer.close()
            #expect(Set(payloads).count == total && payloads.first == "oldest")
            for name in ["a", "b"] {
                #expect(payloads.filter { $0.hasPrefix(name) } == (0..<1_000).map { "\(name)\($0)" })
            }
            // The one that took the last number above, unless the recovery has found it unused.
            try? await client.delete("/queue/consumers/consumer-2147483647")
            try await queue.expectEmptyTree()
        }
        await ensemble.stop()
    }
}
