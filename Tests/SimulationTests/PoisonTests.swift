import QueueHistory
import Simulation
import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

/// A message that kills the process of every consumer that receives it.
struct PoisonTests {
    @Test(
        "Only the message that kills its consumers is dead-lettered",
        arguments: [1, 2, 3, 10], [(1, 1), (4, 1), (32, 1), (1, 7), (4, 3)])
    func poisonMessage(maximumDeliveries: Int, sizes: (prefetch: Int, maximumBatchSize: Int)) {
        let (prefetch, maximumBatchSize) = sizes
        let attributes = QueueAttributes(
            maximumDeliveries: maximumDeliveries, maximumBatchSize: maximumBatchSize)
        var harness = FaultHarness(OurQueue(attributes: attributes))
        harness.maximumDeliveries = maximumDeliveries
        let messages = ["a", "b", "poison", "c", "d", "e", "f"]
        let result = harness.run { harness in
            try await harness.produce(
                messages, by: "producer", harness.session("producer"), together: maximumBatchSize > 1)
            for generation in 0..<maximumDeliveries {
                let store = harness.session("consumer\(generation)")
                try await harness.consume(by: "consumer\(generation)", store, prefetch: prefetch) { delivery in
                    guard delivery.payload == "poison" else { return .acknowledge }
                    store.crash()
                    return .abandon
                }
                try await harness.clock.sleep(for: FaultHarness.sessionTimeout + .seconds(1))
                try await harness.queue.recover(harness.session("recovery\(generation)"))
            }
        }
        #expect(result.passed, "\(result.violations)")
        let dead = harness.simulation.zookeeper.nodes.keys.filter {
            $0.hasPrefix("/queue/dead/") && !$0.hasSuffix("cause")
        }
        let number = maximumBatchSize == 1 || maximumDeliveries == 1 ? "0000000002" : "0000000000-002"
        #expect(dead == ["/queue/dead/item-100-\(number).\(maximumDeliveries)"])
        let events = harness.history.events
        #expect(events.count { $0.kind == .delivered && $0.message == "poison" } == maximumDeliveries)
        #expect(Set(events.filter { $0.kind == .acknowledged }.map(\.message)) == Set(messages).subtracting(["poison"]))
    }
}
