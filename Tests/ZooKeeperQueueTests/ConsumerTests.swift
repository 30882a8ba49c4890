import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperServer

@testable import ZooKeeperQueue

@Suite(.timeLimit(.minutes(2)))
struct ConsumerTests {
    @Test("A message wakes a waiting consumer")
    func wakesUp() async throws {
        try await withTestQueue { _, queue in
            let consumer = QueueConsumer(queue)
            let task = Task {
                for try await message in consumer {
                    try await message.acknowledge()
                    return message.payload
                }
                return []
            }
            let producer = QueueProducer(queue)
            try await producer.send("hello")
            await producer.close()
            #expect(try await task.value == Array("hello".utf8))
            await consumer.close()
            try await queue.expectEmptyTree()
        }
    }

    @Test("A prefetch larger than one transaction delivers all messages in order")
    func largePrefetch() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            let sent = (0..<2_000).map(String.init)
            try await producer.send(contentsOf: sent.map { OutgoingMessage($0) })
            await producer.close()
            // A claim has two operations. A thousand of them exceed the limit of one multi.
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1_000))
            var payloads: [String] = []
            try await withThrowingDiscardingTaskGroup { group in
                for try await message in consumer {
                    payloads.append(String(decoding: message.payload, as: UTF8.self))
                    group.addTask { try await message.acknowledge() }
                    if payloads.count == sent.count { break }
                }
            }
            await consumer.close()
            #expect(payloads == sent)
            try await queue.expectEmptyTree()
        }
    }

    @Test("A message carries its name, priority, headers, delivery count, time and fencing token")
    func properties() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            let name = try await producer.send("x", priority: 7, headers: ["a": "b"]).nodeName
            await producer.close()
            let created = try #require(try await client.exists("/queue/items/\(name ?? "")"))
            try await queue.drain { message in
                #expect(message.nodeName == name && message.priority == 7 && message.headers == ["a": "b"])
                #expect(
                    message.deliveryCount == 1 && message.leaseState == .held
                        && message.enqueuedAt.millisecondsSince1970 == created.ctime)
                #expect(message.fencingToken > created.czxid)
                try await message.acknowledge()
                #expect(message.leaseState == .settled)
            }
        }
    }

    @Test("Two consumers share a queue without duplicates")
    func twoConsumers() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<1_000).map { OutgoingMessage("\($0)") })
            await producer.close()
            try await withAnotherClient(like: client) { other in
                let otherQueue = try MessageQueue(other)
                async let mine = queue.drain()
                async let theirs = otherQueue.drain()
                let (a, b) = try await (mine, theirs)
                #expect(a.count + b.count == 1_000 && Set(a).union(b).count == 1_000)
                #expect(!a.isEmpty && !b.isEmpty)
            }
            try await queue.expectEmptyTree()
        }
    }

    @Test("Fencing tokens increase")
    func fencingTokens() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<20).map { OutgoingMessage("\($0)") })
            var tokens: [Int64] = []
            try await queue.drain(prefetch: 1) {
                tokens.append($0.fencingToken)
                try await $0.acknowledge()
            }
            #expect(tokens.count == 20 && zip(tokens, tokens.dropFirst()).allSatisfy { $0 < $1 })
            await producer.close()
        }
    }

    @Test("A requeued message keeps its position")
    func requeueKeepsPosition() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<5).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            let first = try #require(try await messages.next(within: .seconds(5)))
            try await first.requeue(reason: "not now")
            #expect(first.leaseState == .settled)
            await consumer.close()
            var counts: [Int] = []
            let payloads = try await queue.drain {
                counts.append($0.deliveryCount)
                try await $0.acknowledge()
            }
            #expect(payloads == ["0", "1", "2", "3", "4"] && counts == [2, 1, 1, 1, 1])
            try await queue.expectEmptyTree()
        }
    }

    @Test("A message of higher priority overtakes a backlog")
    func priority() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<150).map { OutgoingMessage("\($0)") })
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            try await #require(try await messages.next()).acknowledge()
            try await producer.send("urgent", priority: 1)
            await producer.close()
            var position = 0
            while let message = try await messages.next(within: .zero) {
                try await message.acknowledge()
                position += 1
                if message.priority == 1 { break }
                // A slow handler, because the consumer works through its list for at least a second.
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(position < 150)
            await consumer.close()
        }
    }

    @Test("A message becomes a dead letter after the maximum number of deliveries")
    func maximumDeliveries() async throws {
        try await withTestQueue(attributes: .init(maximumDeliveries: 3)) { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send("poison", headers: ["a": "b"])
            await producer.close()
            var counts: [Int] = []
            try await queue.drain {
                counts.append($0.deliveryCount)
                try await $0.requeue(reason: "cannot")
            }
            #expect(counts == [1, 2, 3])
            let letter = try #require(try await queue.deadLetters().first)
            #expect(letter.payload == Array("poison".utf8) && letter.headers == ["a": "b"])
            #expect(letter.reason == "delivered 3 times: cannot" && letter.nodeName == "item-100-0000000000.3")
        }
    }

    @Test("An acknowledgement and the handler's operations share one transaction")
    func acknowledgeWithOperations() async throws {
        try await withTestQueue { client, queue in
            try await client.create("/balance", data: [0])
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [OutgoingMessage("a"), OutgoingMessage("b")])
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let first = try #require(try await messages.next())
            try await first.acknowledge(with: [.set("/balance", data: [1], version: 0)])
            let second = try #require(try await messages.next())
            do {
                try await second.acknowledge(with: [.check("/balance"), .set("/balance", data: [9], version: 0)])
                Issue.record("nothing was thrown")
            } catch let error as QueueError {
                // The index is that of the caller's operation, and the cause is ZooKeeper's error.
                #expect(error.code == .operationRefused && error.cause?.code == .badVersion)
                #expect(error.cause?.operationIndex == 1 && error.cause?.path == "/balance")
            }
            #expect(second.leaseState == .held)
            #expect(try await client.get("/balance").data == [1])
            try await second.acknowledge()
            await consumer.close()
            try await queue.expectEmptyTree()
        }
    }

    @Test("process acknowledges when the handler returns, and requeues when it throws")
    func processRetries() async throws {
        struct Failure: Error {}
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            let attempts = Mutex(0)
            for try await message in QueueConsumer(queue) {
                do {
                    let count = try await message.process { message in
                        try attempts.withLock { attempts in
                            attempts += 1
                            if attempts < 3 { throw Failure() }
                        }
                        return message.deliveryCount
                    }
                    #expect(count == 3)
                    break
                } catch is Failure {}
            }
            #expect(attempts.withLock { $0 } == 3)
            try await withDeadline("the dropped consumer to leave the tree") { [queue] in
                while try await queue.statistics().consumers > 0 { await Task.yield() }
            }
            try await queue.expectEmptyTree()
        }
    }

    @Test("process cancels the handler when the lease is lost")
    func processCancels() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            let (started, start) = AsyncStream.makeStream(of: Void.self)
            let task = Task {
                try await message.process { _ in
                    start.yield()
                    // The lost lease cancels the handler before this ends.
                    try await Task.sleep(for: .seconds(60))
                }
            }
            _ = await started.first { _ in true }
            try await expireSession(of: client)
            await expect(.leaseLost) { try await task.value }
            #expect(message.leaseState == .lost)
            await consumer.close()
        }
    }

    @Test("A message that the caller drops is requeued")
    func droppedMessage() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            _ = try await messages.next()
            let again = try #require(try await messages.next())
            #expect(again.deliveryCount == 2)
            try await again.acknowledge()
            await consumer.close()
        }
    }

    @Test("Closing returns prefetched messages without raising their delivery counts")
    func prefetchedMessages() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<10).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 10))
            var messages = consumer.makeAsyncIterator()
            let first = try #require(try await messages.next())
            try await queue.expectStatistics(ready: 0, leased: 10, partial: 0, dead: 0, consumers: 1)
            try await first.acknowledge()
            await consumer.close()
            try await queue.expectStatistics(ready: 9, leased: 0, partial: 0, dead: 0, consumers: 0)
            var counts: Set<Int> = []
            let payloads = try await queue.drain {
                counts.insert($0.deliveryCount)
                try await $0.acknowledge()
            }
            #expect(payloads == (1..<10).map(String.init) && counts == [1])
        }
    }

    @Test("A new iteration of a consumer continues in order")
    func newIteration() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<40).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 4))
            var payloads: [String] = []
            while payloads.count < 40 {
                for try await message in consumer {
                    payloads.append(String(decoding: message.payload, as: UTF8.self))
                    try await message.acknowledge()
                    break
                }
                // The consumer returns its messages after its iterator is gone, and no call waits for that.
                while try await queue.statistics().consumers > 0 { await Task.yield() }
            }
            #expect(payloads == (0..<40).map(String.init))
            await consumer.close()
        }
    }

    @Test("A consumer continues after its session has expired")
    func expiredSession() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [OutgoingMessage("held"), OutgoingMessage("next")])
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            try await expireSession(of: client)
            let next = try #require(try await messages.next())
            #expect(next.payload == Array("next".utf8) && next.fencingToken > held.fencingToken)
            await expect(.leaseLost) { try await held.acknowledge() }
            await expect(.leaseLost) { try await held.requeue() }
            try await next.acknowledge()
            // A recovery has to requeue the lost message first.
            try await QueueRecovery(queue).recover()
            let again = try #require(try await messages.next())
            #expect(again.payload == held.payload && again.deliveryCount == 2)
            try await again.acknowledge()
            await consumer.close()
            await producer.close()
            try await QueueRecovery(queue).recover()
            try await queue.expectEmptyTree()
        }
    }

    @Test("A hung server suspends a lease until it responds again")
    func hungServer() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(6))
            try await ZooKeeperClient.withClient(configuration: configuration) { client in
                let queue = try MessageQueue(client)
                let producer = QueueProducer(queue)
                try await producer.send("x")
                let consumer = QueueConsumer(queue)
                var messages = consumer.makeAsyncIterator()
                let message = try #require(try await messages.next())
                await ensemble.pause(0)
                #expect(await message.leaseStates.first(where: { $0 != .held }) == .suspended)
                await ensemble.resume(0)
                #expect(await message.leaseStates.first(where: { $0 != .suspended }) == .held)
                try await message.acknowledge()
                await consumer.close()
                await producer.close()
            }
        }
    }

    @Test("A consumer continues after server restarts")
    func serverRestarts() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(10))
            try await ZooKeeperClient.withClient(configuration: configuration) { client in
                let queue = try MessageQueue(client)
                let producer = QueueProducer(queue)
                try await producer.send(contentsOf: (0..<500).map { OutgoingMessage("\($0)") })
                let receiving = Task {
                    let consumer = QueueConsumer(queue, configuration: .init(prefetch: 5))
                    var payloads: [String] = []
                    for try await message in consumer {
                        payloads.append(String(decoding: message.payload, as: UTF8.self))
                        try await message.acknowledge()
                        if payloads.last == "last" { break }
                    }
                    await consumer.close()
                    return payloads
                }
                for _ in 0..<2 {
                    await ensemble.kill(0)
                    try await ensemble.start(0)
                }
                try await producer.send("last")
                await producer.close()
                #expect(try await receiving.value == (0..<500).map(String.init) + ["last"])
                try await queue.expectEmptyTreeAfterRecovery()
            }
        }
    }
}
