import Synchronization
import ZooKeeperQueue

/// The work without a gateway: as many tasks as connections, each with one message at a time.
struct LibraryLoad {
    let queue: MessageQueue
    let tasks: Int
    let duration: Duration

    /// - Returns: messages a second.
    func put(_ payload: [UInt8]) async throws -> Double {
        let producer = QueueProducer(queue)
        let sent = try await counted { end, count in
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<tasks {
                    group.addTask {
                        while ContinuousClock.now < end {
                            try await producer.send(payload)
                            count.increment()
                        }
                    }
                }
            }
        }
        await producer.close()
        return sent
    }

    func take() async throws -> Double {
        let consumer = QueueConsumer(queue)
        let taken = try await counted { end, count in
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<tasks {
                    group.addTask {
                        var messages = consumer.makeAsyncIterator()
                        while ContinuousClock.now < end, let message = try await messages.next(within: .seconds(1)) {
                            try await message.acknowledge()
                            count.increment()
                        }
                    }
                }
            }
        }
        await consumer.close()
        return taken
    }

    private func counted(
        _ body: (ContinuousClock.Instant, Counter) async throws -> Void
    ) async throws -> Double {
        let count = Counter()
        let start = ContinuousClock.now
        try await body(start + duration, count)
        return Double(count.value) / (start.duration(to: .now) / .seconds(1))
    }
}

final class Counter: Sendable {
    private let number = Atomic<Int>(0)
    var value: Int { number.load(ordering: .relaxed) }
    func increment() { number.add(1, ordering: .relaxed) }
}
