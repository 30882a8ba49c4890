import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperServer

@testable import ZooKeeperQueue

/// Consumers that serve many short requests for one message each, as over HTTP.
@Suite(.timeLimit(.minutes(2)))
struct PullOnDemandTests {
    /// Requests one message with a new iterator, which is gone on return.
    private func next(of consumer: QueueConsumer) async throws -> QueueMessage? {
        var messages = consumer.makeAsyncIterator()
        return try await messages.next(within: .zero)
    }

    /// Receives and acknowledges all messages in parallel tasks, each message with a new iterator.
    private func drain(_ consumer: QueueConsumer, of count: Int, tasks: Int) async throws -> [String] {
        let received = ReceivedPayloads()
        try await withDeadline("all messages") {
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<tasks {
                    group.addTask {
                        while received.payloads.count < count {
                            guard let message = try await next(of: consumer) else { continue }
                            try await message.acknowledge()
                            received.append(String(decoding: message.payload, as: UTF8.self))
                        }
                    }
                }
            }
        }
        return received.payloads
    }

    @Test("Repeated short requests receive every message once", arguments: [true, false])
    func repeatedRequests(onDemand: Bool) async throws {
        try await withTestQueue { _, queue in
            let sent = (0..<3_000).map { "\($0)" }
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: sent.map { OutgoingMessage($0) })
            await producer.close()
            var configuration = QueueConsumer.Configuration(prefetch: 8)
            configuration.pullsOnDemand = onDemand
            let consumer = QueueConsumer(queue, configuration: configuration)
            // Between two requests there is no demand. The consumer must keep what it has read, and not list again each
            // time.
            let received = try await drain(consumer, of: sent.count, tasks: 8)
            #expect(Set(received) == Set(sent) && received.count == sent.count)
            if onDemand {
                let refills = await consumer.state.ready.refills
                #expect(refills < 100, "the queue was listed \(refills) times for \(sent.count) messages")
            }
            await consumer.close()
        }
    }

    @Test("A request after a pause returns, although the consumer may have unregistered", arguments: [true, false])
    func pauseBetweenRequests(onDemand: Bool) async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<100).map { OutgoingMessage("\($0)") })
            await producer.close()
            var configuration = QueueConsumer.Configuration(prefetch: 8)
            configuration.pullsOnDemand = onDemand
            let consumer = QueueConsumer(queue, configuration: configuration)
            for _ in 0..<50 {
                let message = try await withDeadline("a message", within: .seconds(20)) { try await next(of: consumer) }
                try await #require(message).acknowledge()
                _ = try await queue.statistics()
            }
            await consumer.close()
        }
    }

    @Test("A consumer that pulls on demand claims nothing without a request")
    func noPrefetch() async throws {
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

private final class ReceivedPayloads: Sendable {
    private let state = Mutex<[String]>([])
    var payloads: [String] { state.withLock { $0 } }
    func append(_ payload: String) { state.withLock { $0.append(payload) } }
}
