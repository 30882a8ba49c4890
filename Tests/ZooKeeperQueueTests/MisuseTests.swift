import ServiceLifecycle
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Mistakes that users make.
@Suite(.timeLimit(.minutes(2)))
struct MisuseTests {
    @Test("Producers, consumers, recoveries and workers can be released without use")
    func releasedBeforeUse() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        _ = QueueProducer(queue)
        _ = QueueConsumer(queue)
        _ = QueueConsumer(queue).makeAsyncIterator()
        _ = QueueRecovery(queue)
        _ = QueueWorker(QueueConsumer(queue)) { _ in }
        #expect(store.callCount == 0)
    }

    @Test("A producer and a consumer can be closed twice before use")
    func closedBeforeUse() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
        let queue = try MessageQueue(client)
        let (producer, consumer) = (QueueProducer(queue), QueueConsumer(queue))
        await producer.close()
        await producer.close()
        await consumer.close()
        await consumer.close()
        await expect(.closed) { try await producer.send("x") }
        var messages = consumer.makeAsyncIterator()
        #expect(try await messages.next()?.nodeName == nil)
    }

    @Test("A service or an iteration that is cancelled before it runs returns")
    func cancelledBeforeRun() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
        let queue = try MessageQueue(client)
        for service in [QueueRecovery(queue) as any Service, QueueWorker(QueueConsumer(queue)) { _ in }] {
            let task = Task { try await service.run() }
            task.cancel()
            _ = await task.result
        }
        let iteration = Task { for try await _ in QueueConsumer(queue) {} }
        iteration.cancel()
        try await iteration.value
        await client.close()
    }

    @Test("A message can be settled only once")
    func settledTwice() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [OutgoingMessage("a"), OutgoingMessage("b")])
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let first = try #require(try await messages.next())
            try await first.acknowledge()
            await expect(.alreadySettled) { try await first.acknowledge() }
            await expect(.alreadySettled) { try await first.requeue() }
            let second = try #require(try await messages.next())
            async let once: Void = second.acknowledge()
            async let twice: Void = second.deadLetter(reason: "both at once")
            var failures = 0
            do { try await once } catch { failures += 1 }
            do { try await twice } catch { failures += 1 }
            #expect(failures == 1)
            await consumer.close()
            #expect(try await queue.statistics().ready == 0)
        }
    }

    @Test("A message can be acknowledged while its consumer closes")
    func acknowledgedWhileClosing() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [OutgoingMessage("a"), OutgoingMessage("b")])
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 2))
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            async let closing: Void = consumer.close()
            try await withDeadline("the other message to be requeued") { [queue] in
                while try await queue.statistics().ready < 1 { await Task.yield() }
            }
            try await message.acknowledge()
            await closing
            #expect(try await messages.next()?.nodeName == nil)
            #expect(try await queue.drain() == ["b"])
            try await queue.expectEmptyTree()
        }
    }

    @Test("A message that is not settled within the grace period returns with the same delivery count")
    func unsettledWhileClosing() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send("a")
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            await consumer.close(gracePeriod: .milliseconds(50))
            await expect(.alreadySettled) { try await message.acknowledge() }
            try await queue.drain {
                #expect($0.deliveryCount == 1)
                try await $0.acknowledge()
            }
            try await queue.expectEmptyTree()
        }
    }

    @Test("A caller can collect no more unsettled messages than the prefetch")
    func collectedMessages() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<5).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 3))
            var messages = consumer.makeAsyncIterator()
            var held: [QueueMessage] = []
            while let message = try await messages.next(within: .zero) { held.append(message) }
            #expect(held.count == 3)
            for message in held { try await message.acknowledge() }
            await consumer.close()
            #expect(try await queue.drain() == ["3", "4"])
        }
    }

    @Test("An acknowledgement with invalid operations fails alone")
    func invalidOperations() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<20).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            var held: [QueueMessage] = []
            while let message = try await messages.next(within: .zero) { held.append(message) }
            let failures = await withTaskGroup(of: Int.self) { group in
                for (index, message) in held.enumerated() {
                    group.addTask {
                        let operations: [ZooKeeperOperation] = index % 5 == 0 ? [.set("no slash", data: [])] : []
                        do { try await message.acknowledge(with: operations) } catch { return 1 }
                        return 0
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(failures == 4)
            for message in held where message.leaseState == .held { try await message.acknowledge() }
            await consumer.close()
            try await queue.expectEmptyTree()
        }
    }

    @Test("Many tasks can share one consumer without duplicates")
    func sharedConsumer() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<200).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue)
            let payloads = try await withThrowingTaskGroup(of: [[UInt8]].self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        var messages = consumer.makeAsyncIterator()
                        var payloads: [[UInt8]] = []
                        while let message = try await messages.next(within: .zero) {
                            payloads.append(message.payload)
                            try await message.acknowledge()
                        }
                        return payloads
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(payloads.count == 200 && Set(payloads).count == 200)
            await consumer.close()
        }
    }
}
