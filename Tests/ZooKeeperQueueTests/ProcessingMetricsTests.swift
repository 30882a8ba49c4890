import MetricsTestKit
import Simulation
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The counters of what a process does with messages.
@Suite(.timeLimit(.minutes(1)))
struct ProcessingMetricsTests {
    private struct Refused: Error {}

    @Test("Failed deliveries, handlers beyond their time limit and expired messages are counted")
    func counters() throws {
        let factory = TestMetrics()
        try simulateQueue { simulation, queue in
            let counted = try MessageQueue(store: queue.store, metricsFactory: factory)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [
                .init("refused"), .init("slow"), .init("fine"), .init("expired", expiresAfter: .seconds(30)),
            ])
            await producer.close()
            try await counted.withConsumer(prefetch: 1) { consumer in
                var messages = consumer.makeAsyncIterator()
                while let message = try await messages.next(within: .zero) {
                    try? await message.process(timeout: .seconds(60)) { message in
                        if message.deliveryCount > 1 { return }
                        switch String(decoding: message.payload, as: UTF8.self) {
                        case "refused": throw Refused()
                        case "slow": try await simulation.clock.sleep(for: .seconds(600))
                        default: break
                        }
                    }
                }
            }
            #expect(try await queue.deadLetters().count == 1)
        }
        func count(_ name: String) throws -> Int64 {
            try factory.expectCounter("zookeeper_queue_\(name)", [("queue", "/queue")]).totalValue
        }
        #expect(try count("failed_deliveries_total") == 2)
        #expect(try count("handler_timeouts_total") == 1)
        #expect(try count("expired_total") == 1)
        #expect(try count("received_total") == 5)
        #expect(try count("redelivered_total") == 2)
        #expect(try count("acknowledged_total") == 3)
        #expect(try count("requeued_total") == 2)
        // An expired message counts only as expired.
        #expect(try count("dead_lettered_total") == 0)
        let handlers = try factory.expectTimer("zookeeper_queue_handler_duration_seconds", [("queue", "/queue")])
        #expect(handlers.values.count == 5)
    }

    @Test("Sends, their batches and their failures are counted, and a recovery records the messages by state")
    func sends() throws {
        let factory = TestMetrics()
        try simulateQueue { simulation, queue in
            let counted = try MessageQueue(store: queue.store, metricsFactory: factory)
            let producer = QueueProducer(counted)
            try await producer.send(contentsOf: (1...3).map { .init("\($0)", id: "\($0)") })
            try await producer.send(.init("again", id: "1"))
            try await producer.send(.init("later", delay: .seconds(600)))
            try await counted.update { $0.paused = [.send] }
            await #expect(throws: QueueError.self) { try await producer.send("refused") }
            try await counted.update { $0.paused = [] }
            try await counted.transaction { $0.send(.init("in a transaction"), to: counted) }
            await producer.close()
            try await simulation.clock.sleep(for: .seconds(5))
            try await QueueRecovery(counted).recover()
        }
        let queue = [("queue", "/queue")]
        func count(_ name: String) throws -> Int64 {
            try factory.expectCounter("zookeeper_queue_\(name)", queue).totalValue
        }
        func messages(_ state: String) throws -> Double? {
            try factory.expectGauge("zookeeper_queue_messages", queue + [("state", state)]).lastValue
        }
        #expect(try count("sent_total") == 5)
        #expect(try count("send_failures_total") == 1)
        #expect(try factory.expectTimer("zookeeper_queue_send_duration_seconds", queue).values.count == 4)
        #expect(try factory.expectRecorder("zookeeper_queue_batch_size", queue).values.first == 3)
        #expect(try messages("ready") == 4)
        #expect(try messages("delayed") == 1)
        #expect(try messages("dead_lettered") == 0)
        let age = try factory.expectGauge("zookeeper_queue_oldest_message_age_seconds", queue).lastValue
        #expect(age.map { 5...6 ~= $0 } == true)
    }
}
