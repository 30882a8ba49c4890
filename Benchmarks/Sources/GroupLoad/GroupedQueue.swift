import LoadSupport
import Synchronization
import ZooKeeper
import ZooKeeperQueue

/// The measured work on one queue.
struct GroupedQueue {
    /// Messages a second.
    struct Rates {
        var sent, received, both: Double
    }

    let servers: String
    let path: String
    let consumers: Int

    private static let senders = 256

    /// Stores messages, and then receives them. After that, does both at the same time.
    ///
    /// - Parameter keys: the number of groups; `nil` for messages without a group.
    func rates(of count: Int, keys: Int?) async throws -> Rates {
        try await withQueue { queue in
            let sending = try await ContinuousClock().measure { try await send(count, keys: keys, to: queue) }
            let receiving = try await ContinuousClock().measure { try await receive(count) }
            let both = try await ContinuousClock().measure {
                async let sent: Void = send(count, keys: keys, to: queue)
                try await receive(count)
                try await sent
            }
            func rate(_ time: Duration) -> Double { Double(count) / (time / .seconds(1)) }
            return Rates(sent: rate(sending), received: rate(receiving), both: rate(both))
        }
    }

    /// Sends a message of another group behind a long one.
    ///
    /// - Returns: how long it took to receive the message, and how many messages of the long group came before it.
    func delay(behind count: Int) async throws -> (delay: Duration, others: Int) {
        try await withQueue { queue in
            try await send(count, keys: 1, to: queue)
            return try await queue.withConsumer { consumer in
                var messages = consumer.makeAsyncIterator()
                // The consumer is at work when the other message is sent.
                for _ in 0..<100 { try await messages.next()?.acknowledge() }
                let producer = QueueProducer(queue)
                let start = ContinuousClock.now
                try await producer.send(OutgoingMessage("x", group: "other"))
                var others = 0
                while let message = try await messages.next() {
                    try await message.acknowledge()
                    if message.group == "other" { break }
                    others += 1
                }
                let delay = ContinuousClock.now - start
                await producer.close()
                return (delay, others)
            }
        }
    }

    /// Uses each key once.
    ///
    /// - Returns: the messages a second, and the number of groups that are left.
    func nodesLeft(by count: Int) async throws -> (rate: Double, nodes: Int) {
        try await withQueue { queue in
            let time = try await ContinuousClock().measure {
                async let sent: Void = send(count, keys: count, to: queue)
                try await receive(count)
                try await sent
            }
            return (Double(count) / (time / .seconds(1)), try await queue.statistics().groups)
        }
    }

    private func send(_ count: Int, keys: Int?, to queue: MessageQueue) async throws {
        let producer = QueueProducer(queue)
        let payload = [UInt8](repeating: 65, count: 100)
        try await withThrowingDiscardingTaskGroup { group in
            for sender in 0..<Self.senders {
                group.addTask {
                    for index in stride(from: sender, to: count, by: Self.senders) {
                        try await producer.send(OutgoingMessage(payload, group: keys.map { "key-\(index % $0)" }))
                    }
                }
            }
        }
        await producer.close()
    }

    /// Receives messages with several consumers, each with a client of its own. Each acknowledges up to 32 messages at
    /// the same time.
    private func receive(_ count: Int) async throws {
        let remaining = Countdown(count)
        try await withThrowingDiscardingTaskGroup { group in
            for _ in 0..<consumers {
                group.addTask { try await withQueue { try await receive(from: $0, until: remaining) } }
            }
        }
    }

    private func receive(from queue: MessageQueue, until remaining: Countdown) async throws {
        let consumer = QueueConsumer(queue, configuration: .init(prefetch: 32))
        try await withThrowingDiscardingTaskGroup { handlers in
            for _ in 0..<32 {
                handlers.addTask {
                    var messages = consumer.makeAsyncIterator()
                    while !remaining.isOver {
                        guard let message = try await messages.next(within: .milliseconds(200)) else { continue }
                        try await message.acknowledge()
                        remaining.advance()
                    }
                }
            }
        }
        await consumer.close()
    }

    private func withQueue<Result: Sendable>(_ body: (MessageQueue) async throws -> Result) async throws -> Result {
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { client in
            let queue = try MessageQueue(client, path: path)
            try await queue.createIfNeeded()
            return try await body(queue)
        }
    }
}

private final class Countdown: Sendable {
    private let value: Atomic<Int>
    init(_ count: Int) { value = Atomic(count) }
    var isOver: Bool { value.load(ordering: .relaxed) <= 0 }
    func advance() { value.subtract(1, ordering: .relaxed) }
}
