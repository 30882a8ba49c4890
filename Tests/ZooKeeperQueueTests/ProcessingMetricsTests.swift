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
        #expect(try count("failed_deliveries") == 2)
        #expect(try count("handler_timeouts") == 1)
        #expect(try count("expired") == 1)
    }
}
