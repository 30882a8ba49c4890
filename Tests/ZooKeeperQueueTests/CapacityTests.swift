import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Queues with a capacity, on a real server.
@Suite(.timeLimit(.minutes(1)))
struct CapacityTests {
    @Test("A full queue refuses sends until messages leave it")
    func fullQueue() async throws {
        try await withTestQueue(attributes: .init(capacity: .init(messages: 10))) { _, queue in
            let producer = QueueProducer(queue)
            for number in 0..<10 { try await producer.send("\(number)") }
            let error = await #expect(throws: QueueError.self) { try await producer.send("more") }
            #expect(
                error?.code == .queueFull && error?.message.contains("10 of 10 messages") == true, "\(error as Any)")
            // A requeued message is never refused.
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 3))
            var messages = consumer.makeAsyncIterator()
            try await messages.next()?.requeue()
            for _ in 0..<3 { try await messages.next()?.acknowledge() }
            await consumer.close()
            for number in 10..<13 { try await producer.send("\(number)") }
            await expect(.queueFull) { try await producer.send("more") }
            await producer.close()
            #expect(try await queue.drain().count == 10)
        }
    }

    @Test("Refused and waiting producers follow a new capacity", arguments: [QueueCapacity(), .init(messages: 20)])
    func newCapacity(_ capacity: QueueCapacity) async throws {
        try await withTestQueue(attributes: .init(capacity: .init(messages: 3))) { _, queue in
            let (producer, patient) = (
                QueueProducer(queue), QueueProducer(queue, configuration: .init(whenFull: .wait))
            )
            for number in 0..<3 { try await producer.send("\(number)") }
            await expect(.queueFull) { try await producer.send("more") }
            let waiting = Task.immediate { try await patient.send("waits") }
            try await queue.update { $0.capacity = capacity }
            try await producer.send("more")
            _ = try await waiting.value
            for producer in [producer, patient] { await producer.close() }
            #expect(try await queue.statistics().ready == 5)
        }
    }

    @Test("A send of several messages is admitted or refused as a whole")
    func sendOfSeveral() async throws {
        try await withTestQueue(attributes: .init(capacity: .init(messages: 10))) { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<25).map { OutgoingMessage("\($0)") })
            await expect(.queueFull) { try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) }) }
            await producer.close()
            #expect(try await queue.statistics().ready == 25)
        }
    }

    @Test("Waiting sends are admitted in order, and can be cancelled or time out")
    func waitingSends() async throws {
        try await withTestQueue(attributes: .init(capacity: .init(messages: 2))) { _, queue in
            let producer = QueueProducer(queue, configuration: .init(whenFull: .wait))
            for number in 0..<2 { try await producer.send("\(number)") }
            let sends = (2..<6).map { number in Task.immediate { try await producer.send("\(number)") } }
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            for number in 0..<6 {
                let message = try #require(try await messages.next())
                #expect(message.payload == Array("\(number)".utf8))
                try await message.acknowledge()
            }
            for send in sends { _ = try await send.value }
            await consumer.close()
            await producer.close()

            let impatient = QueueProducer(queue, configuration: .init(whenFull: .wait, sendTimeout: .milliseconds(300)))
            for number in 0..<2 { try await impatient.send("\(number)") }
            let waiting = Task.immediate { try await impatient.send("cancelled") }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
            await expect(.queueFull) { try await impatient.send("too late") }
            await impatient.close()
            #expect(try await queue.drain() == ["0", "1"])
        }
    }

    @Test("A capacity in bytes counts dead letters too")
    func byteCapacity() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send([UInt8](repeating: 1, count: 40_000))
            // The running producer follows the new capacity.
            try await queue.update { $0.capacity = .init(bytes: 100_000) }
            try await producer.send([UInt8](repeating: 2, count: 40_000))
            try await producer.send([UInt8](repeating: 3, count: 40_000))
            let error = await #expect(throws: QueueError.self) { try await producer.send("more") }
            #expect(error?.code == .queueFull && error?.message.contains("of 100000 bytes") == true, "\(error as Any)")
            #expect(try await queue.statistics().bytes ?? 0 > 120_000)
            // Dead letters count too.
            try await queue.drain { try await $0.deadLetter(reason: "kept") }
            await expect(.queueFull) { try await producer.send("more") }
            try await queue.purgeDeadLetters()
            try await producer.send("more")
            try await queue.update { $0.capacity = .init() }
            try await producer.send(
                contentsOf: (0..<10).map { _ in OutgoingMessage([UInt8](repeating: 4, count: 40_000)) })
            await producer.close()
        }
    }

    @Test("Several producers together stay close to the capacity")
    func severalProducers() async throws {
        try await withTestQueue(attributes: .init(capacity: .init(messages: 500))) { client, queue in
            // The other client would create the queue without a capacity.
            try await queue.prepare()
            try await withAnotherClient(like: client) { other in
                let producers = try (0..<4).map {
                    QueueProducer(
                        $0.isMultiple(of: 2) ? queue : try MessageQueue(other), configuration: .init(whenFull: .fail))
                }
                let sent = try await withThrowingTaskGroup(of: Int.self) { group in
                    for producer in producers {
                        for _ in 0..<8 {
                            group.addTask {
                                for number in 0..<1_000 {
                                    do {
                                        try await producer.send("\(number)")
                                    } catch let error as QueueError where error.code == .queueFull {
                                        return number
                                    }
                                }
                                return 1_000
                            }
                        }
                    }
                    return try await group.reduce(0, +)
                }
                for producer in producers { await producer.close() }
                let ready = try await queue.statistics().ready
                #expect(ready == sent && ready >= 400 && ready <= 550, "\(ready) of \(sent)")
            }
        }
    }

    @Test("Each message of a batch counts towards the capacity")
    func batchedMessages() async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: 50, capacity: .init(messages: 1_000))) { _, queue in
            let producer = QueueProducer(queue)
            var sent = 0
            await expect(.queueFull) {
                while true {
                    try await producer.send(contentsOf: (0..<50).map { OutgoingMessage("\($0)") })
                    sent += 50
                }
            }
            #expect((900...1_150).contains(sent), "\(sent)")
            await producer.close()
        }
    }

    @Test("An invalid capacity is rejected, and so is a byte limit below or above another one")
    func invalidCapacity() async throws {
        try await withTestQueue { client, queue in
            for capacity in [QueueCapacity(messages: 0), .init(bytes: -1)] {
                await expect(.invalidArgument) { try await queue.update { $0.capacity = capacity } }
                await expect(.invalidArgument) {
                    try await queue.createIfNeeded(.init(capacity: capacity))
                }
            }
            try await queue.prepare()
            let below = try MessageQueue(client, path: "/queue/items/below")
            try await queue.update { $0.capacity = .init(bytes: 1_000) }
            let error = await #expect(throws: QueueError.self) {
                try await below.update { $0.capacity = .init(bytes: 1_000) }
            }
            #expect(error?.code == .invalidArgument && error?.message.contains("/queue already") == true)
            let above = try MessageQueue(client, path: "/above")
            try await MessageQueue(client, path: "/above/below").update { $0.capacity = .init(bytes: 1_000) }
            await expect(.invalidArgument) { try await above.update { $0.capacity = .init(bytes: 1_000) } }
        }
    }

    @Test("A capacity also limits a queue on the in-memory ZooKeeper")
    func inMemory() async throws {
        let queue = try MessageQueue(
            store: InMemoryZooKeeper().connect()
        ).creating(with: .init(capacity: .init(messages: 3, bytes: 5_000)))
        let producer = QueueProducer(queue)
        for number in 0..<3 { try await producer.send("\(number)") }
        await expect(.queueFull) { try await producer.send("more") }
        #expect(try await queue.drain().count == 3)
        try await producer.send([UInt8](repeating: 1, count: 6_000))
        await expect(.queueFull) { try await producer.send("more") }
        await producer.close()
    }
}
