import Histogram
import ZooKeeper
import ZooKeeperQueue

/// The measured work, as a program would do it.
struct Load {
    let queue: MessageQueue
    let payload: [UInt8]
    let tasks: Int

    func warmUp() async throws {
        try await put(64)
        try await take(64)
    }

    /// Sends messages from `tasks` tasks. Each awaits one message before the next.
    func put(_ count: Int) async throws {
        let producer = QueueProducer(queue)
        try await withThrowingDiscardingTaskGroup { group in
            for task in 0..<tasks {
                let share = count / tasks + (task < count % tasks ? 1 : 0)
                group.addTask { for _ in 0..<share { try await producer.send(payload) } }
            }
        }
        await producer.close()
    }

    /// Consumes messages, and acknowledges each in a separate task, unless there is only one task.
    func take(_ count: Int, prefetch: Int? = nil) async throws {
        let consumer = QueueConsumer(queue, configuration: prefetch.map { .init(prefetch: $0) } ?? .init())
        try await withThrowingDiscardingTaskGroup { group in
            var taken = 0
            for try await message in consumer {
                taken += 1
                if tasks == 1 {
                    try await message.acknowledge()
                } else {
                    group.addTask { try await message.acknowledge() }
                }
                if taken == count { break }
            }
        }
        await consumer.close()
    }

    /// Consumes messages until none arrives for two seconds.
    ///
    /// - Returns: the number of messages, and the seconds from the first to the last.
    func drain(prefetch: Int?) async throws -> (Int, Double) {
        let consumer = QueueConsumer(queue, configuration: prefetch.map { .init(prefetch: $0) } ?? .init())
        var taken = 0
        var (first, last) = (ContinuousClock.now, ContinuousClock.now)
        try await withThrowingDiscardingTaskGroup { group in
            var messages = consumer.makeAsyncIterator()
            while let message = try await messages.next(within: .seconds(2)) {
                last = .now
                if taken == 0 { first = last }
                taken += 1
                group.addTask { try await message.acknowledge() }
            }
        }
        await consumer.close()
        return (taken, first.duration(to: last) / .seconds(1))
    }

    /// Sends one message at a time to a consumer that waits at the empty queue.
    ///
    /// - Returns: the times in nanoseconds.
    func handOff(_ count: Int) async throws -> Histogram<UInt32> {
        var times = Histogram<UInt32>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
        let producer = QueueProducer(queue)
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        for _ in 0..<count {
            let start = ContinuousClock.now
            async let receipt = producer.send(payload)
            guard let message = try await messages.next() else { break }
            times.record(UInt64(start.duration(to: .now) / .nanoseconds(1)))
            _ = try await receipt
            try await message.acknowledge()
            // The consumer waits again after the acknowledgement, and no event announces that. A sender
            // that pauses first finds it waiting.
            try await Task.sleep(for: .milliseconds(3))
        }
        await producer.close()
        await consumer.close()
        return times
    }
}
