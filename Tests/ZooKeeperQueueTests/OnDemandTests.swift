import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperServer

@testable import ZooKeeperQueue

/// Consumers that many come to for a message each, and leave again, as over HTTP.
@Suite(.timeLimit(.minutes(2)))
struct OnDemandTests {
    /// Nobody asks any more when it returns.
    private func next(of consumer: QueueConsumer) async throws -> QueueMessage? {
        var messages = consumer.makeAsyncIterator()
        return try await messages.next(within: .zero)
    }

    /// Takes one message after the other, each by an iterator of its own, by so many tasks.
    private func drain(_ consumer: QueueConsumer, of count: Int, tasks: Int) async throws -> [String] {
        let taken = Taken()
        try await withDeadline("all messages") {
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<tasks {
                    group.addTask {
                        while taken.payloads.count < count {
                            guard let message = try await next(of: consumer) else { continue }
                            try await message.acknowledge()
                            taken.note(String(decoding: message.payload, as: UTF8.self))
                        }
                    }
                }
            }
        }
        return taken.payloads
    }

    /// Between two that ask, nobody asks: the consumer must not fall asleep with what it has read, nor list the queue anew each
    /// time.
    @Test(arguments: [true, false]) func whoComesBackIsServed(onDemand: Bool) async throws {
        try await withTestQueue { _, queue in
            let sent = (0..<3_000).map { "\($0)" }
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: sent.map { OutgoingMessage($0) })
            await producer.close()
            var configuration = QueueConsumer.Configuration(prefetch: 8)
            configuration.pullsOnDemand = onDemand
            let consumer = QueueConsumer(queue, configuration: configuration)
            let taken = try await drain(consumer, of: sent.count, tasks: 8)
            #expect(Set(taken) == Set(sent) && taken.count == sent.count)
            if onDemand {
                let refills = await consumer.state.ready.refills
                #expect(refills < 100, "the queue was listed \(refills) times for \(sent.count) messages")
            }
            await consumer.close()
        }
    }

    /// With a pause in which the consumer may leave the tree.
    @Test(arguments: [true, false]) func whoComesBackAfterAPauseIsServed(onDemand: Bool) async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<100).map { OutgoingMessage("\($0)") })
            await producer.close()
            var configuration = QueueConsumer.Configuration(prefetch: 8)
            configuration.pullsOnDemand = onDemand
            let consumer = QueueConsumer(queue, configuration: configuration)
            for _ in 0..<50 {
                let message = try await withDeadline("a message", within: .seconds(20)) { try await next(of: consumer) }
                try await message?.acknowledge()
                _ = try await queue.statistics()
            }
            await consumer.close()
        }
    }

    /// What is acknowledged makes no room for what nobody has asked for.
    @Test func nothingIsTakenThatNobodyAskedFor() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<20).map { OutgoingMessage("\($0)") })
            await producer.close()
            var configuration = QueueConsumer.Configuration()
            configuration.pullsOnDemand = true
            let consumer = QueueConsumer(queue, configuration: configuration)
            var messages = consumer.makeAsyncIterator()
            for _ in 0..<5 {
                let message = try #require(try await messages.next())
                try await message.acknowledge()
                let statistics = try await queue.statistics()
                #expect(statistics.leased == 0, "\(statistics)")
            }
            await consumer.close()
        }
    }
}

private final class Taken: Sendable {
    private let state = Mutex<[String]>([])
    var payloads: [String] { state.withLock { $0 } }
    func note(_ payload: String) { state.withLock { $0.append(payload) } }
}
