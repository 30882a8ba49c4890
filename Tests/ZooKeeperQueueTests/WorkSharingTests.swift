import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Buffered messages, and the consumers that could handle them sooner.
@Suite(.timeLimit(.minutes(2)))
struct WorkSharingTests {
    @Test("The buffer grows when it is used up quickly, and shrinks when messages wait in it")
    func bufferLimit() {
        var limit = BufferLimit(maximum: 128, startingWith: 2)
        for value in [4, 8, 16, 32, 64, 128, 128] {
            limit.handedOut(after: .milliseconds(1), wasLast: false)
            limit.handedOut(after: .milliseconds(2), wasLast: true)
            #expect(limit.value == value)
        }
        for value in [64, 32, 16, 8, 4, 2, 1, 1] {
            limit.handedOut(after: .seconds(1), wasLast: false)
            #expect(limit.value == value)
        }
        // Between the two limits, the buffer stays as it is.
        limit.handedOut(after: .milliseconds(400), wasLast: true)
        #expect(limit.value == 1)
        #expect(BufferLimit(maximum: 0).value == 1)
    }

    /// Advances the clock, and lets every due task run.
    private func pass(_ time: Duration, on clock: VirtualClock) async {
        await clock.advance(by: time)
        for _ in 0..<500 { await Task.yield() }
    }

    @Test("Two workers share a queue of slow jobs, even when the second one starts later", arguments: [false, true])
    func workersShare(startsLater: Bool) async throws {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let queue = try MessageQueue(store: zookeeper.connect())
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<40).map { OutgoingMessage("\($0)") })
        await producer.close()
        let handled = Mutex([0, 0])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<2 {
                let store = zookeeper.connect()
                let consumer = QueueConsumer(try MessageQueue(store: store))
                let worker = QueueWorker(consumer, concurrency: 2) { _ in
                    try await clock.sleep(for: .seconds(1))
                    handled.withLock { $0[number] += 1 }
                }
                group.addTask { try await worker.run() }
                if startsLater, number == 0 {
                    for _ in 0..<30 { await pass(.milliseconds(100), on: clock) }
                }
            }
            while handled.withLock({ $0.reduce(0, +) }) < 40 { await pass(.milliseconds(100), on: clock) }
            group.cancelAll()
        }
        let counts = handled.withLock { $0 }
        #expect(counts.min() ?? 0 >= (startsLater ? 12 : 16), "shared \(counts)")
    }

    @Test("Buffered messages move from a busy consumer to an idle one")
    func bufferedMessages() async throws {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let queue = try MessageQueue(store: zookeeper.connect())
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<10).map { OutgoingMessage("\($0)") })
        await producer.close()
        let slow = QueueConsumer(queue)
        var slowMessages = slow.makeAsyncIterator()
        let first = try #require(try await slowMessages.next())
        #expect(try await queue.statistics().leased == 10)
        let idle = QueueConsumer(try MessageQueue(store: zookeeper.connect()))
        let received = Mutex<[String]>([])
        await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { @Sendable in
                for try await message in idle {
                    received.withLock { $0.append(String(decoding: message.payload, as: UTF8.self)) }
                    try await message.acknowledge()
                }
            }
            while received.withLock({ $0.count }) < 9 { await pass(.milliseconds(200), on: clock) }
            group.cancelAll()
        }
        #expect(received.withLock { $0.sorted() } == (1..<10).map { "\($0)" })
        #expect(clock.now.offset < .seconds(8))
        try await first.acknowledge()
        #expect(try await queue.statistics().ready == 0)
    }

    @Test("An urgent message is handed out before the buffered ones", arguments: [1, 8])
    func urgentMessage(maximumBatchSize: Int) async throws {
        let clock = VirtualClock()
        let queue = try MessageQueue(
            store: InMemoryZooKeeper(clock: clock).connect()
        ).creating(with: .init(maximumBatchSize: maximumBatchSize))
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<30).map { OutgoingMessage("\($0)") })
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        try await #require(try await messages.next()).acknowledge()
        try await producer.send("urgent", priority: 1)
        // A slow handler.
        for _ in 0..<30 { await pass(.milliseconds(100), on: clock) }
        let next = try #require(try await messages.next())
        #expect(next.payload == Array("urgent".utf8))
        try await next.acknowledge()
        await producer.close()
    }

    @Test("A consumer without demand leaves a message that it requeued to another consumer")
    func requeuedMessage() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send("job")
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            try await message.requeue()
            try await withAnotherClient(like: client) { other in
                var otherMessages = QueueConsumer(try MessageQueue(other)).makeAsyncIterator()
                let again = try #require(try await otherMessages.next(within: .seconds(5)))
                #expect(again.deliveryCount == 2)
                try await again.acknowledge()
            }
            _ = messages
        }
    }

    @Test("A prefetch of 100,000 delivers all of 20,000 messages")
    func largePrefetch() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect()).creating(with: .init(maximumBatchSize: 100))
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<20_000).map { OutgoingMessage("\($0)") })
        await producer.close()
        #expect(try await queue.drain(prefetch: 100_000).count == 20_000)
    }

    @Test("A consumer's node without a session has no share of the messages")
    func nodeWithoutASession() async throws {
        let store = InMemoryZooKeeper().connect()
        let queue = try MessageQueue(store: store)
        try await queue.prepare()
        for path in ["", "/item", "/active"] {
            _ = try await store.create("/queue/consumers/strange\(path)", data: [], mode: .persistent)
        }
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<5).map { OutgoingMessage("\($0)") })
        await producer.close()
        #expect(try await queue.drain(prefetch: 2) == (0..<5).map(String.init))
    }
}
