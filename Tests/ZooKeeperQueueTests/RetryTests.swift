import Simulation
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// What happens to a message after its delivery has failed.
@Suite(.timeLimit(.minutes(2)))
struct RetryTests {
    private struct CardServiceDown: Error {}

    /// Runs `body` beside a recovery.
    private static func recovering<Result: Sendable>(
        _ queue: MessageQueue, _ body: () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await QueueRecovery(queue).run() }
            defer { group.cancelAll() }
            return try await body()
        }
    }

    @Test(
        "A failing handler's message waits longer after each failure, and then becomes a dead letter with its failures")
    func backoff() throws {
        let policy = RetryPolicy.exponential(initial: .seconds(10), factor: 3, maximum: .seconds(60), jitter: 0)
        try simulateQueue(.init(maximumDeliveries: 5, retry: policy)) { simulation, queue in
            let producer = QueueProducer(queue)
            for text in ["bad", "good"] { try await producer.send(text) }
            await producer.close()
            let times = Mutex<[Duration]>([])
            let done = Mutex(false)
            let worker = QueueWorker(QueueConsumer(queue)) { message in
                if message.payload == Array("good".utf8) { return done.withLock { $0 = true } }
                times.withLock { $0.append(simulation.clock.now.offset) }
                throw CardServiceDown()
            }
            let letter = try await Self.recovering(queue) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    defer { group.cancelAll() }
                    while true {
                        if let letter = try await queue.deadLetters().first { return letter }
                        // The message in backoff does not block the other one.
                        if simulation.clock.now.offset > .seconds(5) { #expect(done.withLock { $0 }) }
                        try await simulation.clock.sleep(for: .seconds(1))
                    }
                }
            }
            let waits = zip(times.withLock { $0 }, times.withLock { $0.dropFirst() }).map { $1 - $0 }
            #expect(waits.count == 4, "\(waits)")
            for (wait, expected) in zip(waits, [10, 30, 60, 60]) {
                #expect(wait >= .seconds(expected) && wait < .seconds(expected + 1), "\(waits)")
            }
            #expect(letter.failures.count == 5)
            #expect(
                letter.failures.allSatisfy {
                    $0.reason.contains("CardServiceDown") && $0.consumer.hasPrefix("consumer-")
                })
            #expect(letter.failures.map(\.failedAt) == letter.failures.map(\.failedAt).sorted())
            #expect(letter.payload == Array("bad".utf8))
        }
    }

    @Test("A worker's policy replaces the queue's")
    func workersPolicy() throws {
        try simulateQueue(.init(retry: .constant(.seconds(3_000)))) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            let deliveries = Mutex<[Duration]>([])
            let worker = QueueWorker(QueueConsumer(queue), retry: .constant(.seconds(20), jitter: 0)) { message in
                let count = deliveries.withLock {
                    $0.append(simulation.clock.now.offset)
                    return $0.count
                }
                if count == 1 { throw CardServiceDown() }
            }
            try await Self.recovering(queue) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    defer { group.cancelAll() }
                    while try await queue.statistics().leased > 0 || deliveries.withLock({ $0.count < 2 }) {
                        try await simulation.clock.sleep(for: .seconds(1))
                    }
                }
            }
            let times = deliveries.withLock { $0 }
            #expect(times.count == 2 && times[1] - times[0] >= .seconds(20) && times[1] - times[0] < .seconds(21))
        }
    }

    @Test("The message of a crashed consumer follows the policy from the second crash on")
    func crashes() throws {
        try simulateQueue(.init(retry: .constant(.seconds(100), jitter: 0))) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            var waits: [Duration] = []
            try await Self.recovering(queue) {
                for number in 0..<3 {
                    let start = simulation.clock.now.offset
                    let session = simulation.zookeeper.connect("crashing\(number)", sessionTimeout: .seconds(10))
                    let consumer = QueueConsumer(try MessageQueue(store: session))
                    var messages = consumer.makeAsyncIterator()
                    let message = try #require(try await messages.next())
                    #expect(message.deliveryCount == number + 1)
                    waits.append(simulation.clock.now.offset - start)
                    session.crash()
                    withExtendedLifetime(message) {}
                }
            }
            // The session's end and a pass of the recovery come first.
            #expect(waits[1] < .seconds(20) && waits[2] >= .seconds(100) && waits[2] < .seconds(125), "\(waits)")
        }
    }

    @Test("A message keeps the last ten failures, and none where they do not fit")
    func boundedFailures() throws {
        try simulateQueue(.init(maximumDeliveries: 50)) { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send("x")
            let large = [UInt8](repeating: 1, count: producer.maximumPayloadSize)
            try await producer.send(large, priority: 200)
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            for try await message in consumer {
                if message.deliveryCount > 12 {
                    if message.priority == 200 {
                        #expect(message.payload == large && message.failures.isEmpty)
                        break
                    }
                    let numbers = message.failures.map { $0.reason.suffix(2) }
                    #expect(numbers == (3...12).map { $0 < 10 ? " \($0)" : "\($0)" }, "\(numbers)")
                    #expect(message.failures.allSatisfy { $0.reason.utf8.count <= 500 })
                    try await message.acknowledge()
                } else {
                    let filler = message.deliveryCount == 5 ? String(repeating: "é", count: 1_000) : ""
                    try await message.requeue(
                        reason: filler.isEmpty ? "number \(message.deliveryCount)" : "number \(5)")
                }
            }
            await consumer.close()
        }
    }

    @Test("A policy outside its limits is refused by the attributes and by a worker")
    func invalidPolicies() async throws {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect("client"))
        let invalid: [RetryPolicy] = [
            .exponential(initial: .seconds(-1)), .exponential(initial: .zero),
            .exponential(initial: .seconds(10), maximum: .seconds(5)), .exponential(factor: 0.5),
            .exponential(factor: .infinity), .exponential(jitter: 1.5), .constant(.seconds(4_000 * 86_400)),
        ]
        for policy in invalid {
            await expect(.invalidArgument) { try await queue.createIfNeeded(.init(retry: policy)) }
            await expect(.invalidArgument) { try await QueueWorker(QueueConsumer(queue), retry: policy) { _ in }.run() }
        }
        #expect(try await queue.store.exists("/queue") == nil)
    }

    @Test("A delay varies by the jitter, grows up to its maximum, and never overflows")
    func delays() {
        let policy = RetryPolicy.exponential(initial: .seconds(1), factor: 2, maximum: .seconds(100), jitter: 0.5)
        for deliveries in 1...200 {
            let expected = min(Double(1 << min(deliveries - 1, 20)), 100)
            let delay = policy.delay(after: deliveries) / .seconds(1)
            #expect(delay >= expected * 0.499 && delay <= min(expected * 1.501, 100), "\(deliveries): \(delay)")
        }
        #expect(RetryPolicy.exponential().delay(after: .max) <= .seconds(3_600))
        #expect(RetryPolicy.immediate.delay(after: 7) == .zero)
    }

    @Test("A policy is read from the tree as it was written, and an invalid one counts as none")
    func stored() {
        let policy = RetryPolicy.exponential(
            initial: .milliseconds(1_500), factor: 1.5, maximum: .seconds(90), jitter: 0.1)
        #expect(policy.encoded == "1500 1.5 90000 0.1" && RetryPolicy(policy.encoded) == policy)
        for text in [
            "", "1", "1 2 3", "1 2 3 4", "0 2 3 0", "5 2 1 0", "1 nan 5 0", "a 2 5 0",
            "9223372036854775807 2 9223372036854775807 0",
        ] {
            #expect(RetryPolicy(text) == nil, "\(text)")
        }
        let attributes = QueueAttributes(Array("retry=1000 2 60000 0.2\nexpired=delete\n".utf8))
        #expect(attributes.retry == .exponential(maximum: .seconds(60)) && attributes.whenExpired == .delete)
        #expect(QueueAttributes(attributes.encoded()) == attributes)
    }
}
