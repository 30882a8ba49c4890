import Foundation
import LoadSupport
import ZooKeeper
import ZooKeeperQueue

/// The measured work on one queue. Each message has its due time as its payload.
struct DelayedQueue {
    let servers: String
    let path: String

    private static let senders = 256

    /// Sends a message with each of these delays, one after the other, to an idle consumer beside an idle recovery. A
    /// message is due when its delay has passed since the call of `send`.
    ///
    /// - Returns: how late each message was received.
    func lateness(ofDelays delays: [Duration]) async throws -> [Duration] {
        try await recovering { queue, _ in
            async let lateness = receive(delays.count, from: queue)
            // Lets the consumer join the wait queue, and the recovery complete its first pass.
            try await Task.sleep(for: .seconds(2))
            let producer = QueueProducer(queue)
            for delay in delays {
                let due = EnsembleTime.wallClock.advanced(by: delay)
                try await producer.send(OutgoingMessage("\(due.millisecondsSince1970)", delay: delay))
            }
            await producer.close()
            return try await lateness
        }
    }

    /// Stores messages that are due in an hour, and then `count` messages that are due within one second.
    ///
    /// - Returns: how late each of the latter was received, in the order in which they were received.
    func lateness(ofBurst count: Int, beside others: Int) async throws -> [Duration] {
        try await recovering { queue, _ in
            let hour = EnsembleTime.wallClock.advanced(by: .seconds(3_600))
            try await send(Self.second(hour, dividedBy: others), to: queue)
            let second = EnsembleTime.wallClock.advanced(by: .seconds(5))
            try await send(Self.second(second, dividedBy: count), to: queue)
            guard EnsembleTime.wallClock < second else {
                throw LoadError(description: "The messages were due before all of them were stored. Send fewer.")
            }
            return try await receive(count, from: queue)
        }
    }

    /// Stores messages that are due at these times, and then runs a recovery, which finds none of them due.
    ///
    /// - Returns: how long it took to store the messages, and the number of requests of the idle recovery in ten
    ///   seconds, by kind.
    func cost(of times: [EnsembleTime]) async throws -> (storing: Duration, requests: [String: Int]) {
        let storing = try await ContinuousClock().measure { try await withQueue { try await send(times, to: $0) } }
        let requests = try await recovering { _, counts in
            // Lets the recovery complete its first pass, and its first look at the slots.
            try await Task.sleep(for: .seconds(5))
            _ = counts.take()
            // The idle period whose requests are counted.
            try await Task.sleep(for: .seconds(10))
            return counts.take().filter { !$0.key.contains(" ") }
        }
        return (storing, requests)
    }

    /// Returns times that divide the second after `start` evenly.
    private static func second(_ start: EnsembleTime, dividedBy count: Int) -> [EnsembleTime] {
        (0..<count).map { start.advanced(by: .milliseconds($0 * 1_000 / count)) }
    }

    /// Sends a message for each time, from many tasks. Each task awaits one message before the next.
    private func send(_ times: [EnsembleTime], to queue: MessageQueue) async throws {
        let producer = QueueProducer(queue)
        try await withThrowingDiscardingTaskGroup { group in
            for sender in 0..<Self.senders {
                group.addTask {
                    for index in stride(from: sender, to: times.count, by: Self.senders) {
                        let due = times[index]
                        try await producer.send(OutgoingMessage("\(due.millisecondsSince1970)", deliverAt: due))
                    }
                }
            }
        }
        await producer.close()
    }

    /// Receives messages, and acknowledges each in a separate task.
    private func receive(_ count: Int, from queue: MessageQueue) async throws -> [Duration] {
        try await queue.withConsumer { consumer in
            var messages = consumer.makeAsyncIterator()
            var lateness: [Duration] = []
            try await withThrowingDiscardingTaskGroup { group in
                while lateness.count < count {
                    guard let message = try await messages.next(within: .seconds(60)) else {
                        throw LoadError(description: "Only \(lateness.count) of \(count) messages were received.")
                    }
                    let now = EnsembleTime.wallClock
                    let due = Int64(String(decoding: message.payload, as: UTF8.self)) ?? 0
                    lateness.append(EnsembleTime(millisecondsSince1970: due).duration(to: now))
                    group.addTask { try await message.acknowledge() }
                }
            }
            return lateness
        }
    }

    /// Runs `body` beside a recovery, which has a separate client.
    private func recovering<Result: Sendable>(
        _ body: (_ queue: MessageQueue, _ recoveryRequests: RequestCounts) async throws -> Result
    ) async throws -> Result {
        let counts = RequestCounts()
        return try await withQueue(counts) { recovered in
            async let _: Void = QueueRecovery(recovered).run()
            return try await withQueue { try await body($0, counts) }
        }
    }

    private func withQueue<Result: Sendable>(
        _ counts: RequestCounts = RequestCounts(), _ body: (MessageQueue) async throws -> Result
    ) async throws -> Result {
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers), metricsFactory: counts) { client in
            let queue = try MessageQueue(client, path: path)
            try await queue.createIfNeeded()
            return try await body(queue)
        }
    }
}

extension EnsembleTime {
    /// The wall clock of this machine, on which the server runs too. So it is the ensemble's clock.
    static var wallClock: EnsembleTime {
        EnsembleTime(millisecondsSince1970: Int64(Date().timeIntervalSince1970 * 1_000))
    }
}
