import Testing
import ZooKeeper

@testable import ZooKeeperQueue

struct CapacityBudgetTests {
    private func entry(_ number: Int) -> [ProducerSequence.Entry] {
        [
            ProducerSequence.Entry(
                send: UnresolvedSend(number: UInt64(number)), index: 0, priority: 100, data: [1], size: 80)
        ]
    }

    /// Measures the fill level, and stores as many messages as the budget admits, up to `limit`.
    private func fill(
        _ budget: inout CapacityBudget, nodes: Int, producers: Int, now: Duration, atMost limit: Int = .max
    ) -> Int {
        budget.update(with: .init(nodes: nodes, bytes: nil, producers: producers), now: now)
        var count = 0
        while count < limit, budget.admits(entry(count), now: now) { count += 1 }
        if count > 0 { budget.noteStored(nodes: count, messages: count) }
        return count
    }

    private func budget() -> CapacityBudget {
        var budget = CapacityBudget()
        budget.capacity = QueueCapacity(messages: 10_000)
        return budget
    }

    @Test("A producer uses all free capacity despite the nodes of a thousand crashed producers")
    func crashedProducers() {
        var budget = budget()
        var nodes = 9_000
        for round in 0..<25 {
            nodes += fill(&budget, nodes: nodes, producers: 1_000, now: .milliseconds(20 * round))
        }
        #expect(nodes == 10_000)
    }

    @Test("A producer takes half its share while another producer stores messages")
    func concurrentProducer() {
        var budget = budget()
        var nodes = 0
        for round in 0..<20 {
            let count = fill(&budget, nodes: nodes, producers: 100, now: .milliseconds(20 * round))
            #expect(count <= (10_000 - nodes) / 200)
            // The other producer stores as many.
            nodes += 2 * count
        }
    }

    @Test("A producer returns to half its share after a pause, after an unused share, and after a full queue")
    func smallShareAgain() {
        var budget = budget()
        #expect(fill(&budget, nodes: 0, producers: 100, now: .zero) == 50)
        #expect(fill(&budget, nodes: 50, producers: 100, now: .milliseconds(10)) == 99)
        #expect(fill(&budget, nodes: 149, producers: 100, now: .seconds(10)) == 49)
        #expect(fill(&budget, nodes: 198, producers: 100, now: .seconds(10), atMost: 5) == 5)
        #expect(fill(&budget, nodes: 203, producers: 100, now: .seconds(10)) == 48)
        #expect(fill(&budget, nodes: 10_000, producers: 100, now: .seconds(10)) == 0)
        #expect(fill(&budget, nodes: 10_000, producers: 100, now: .seconds(10)) == 0)
        #expect(fill(&budget, nodes: 9_000, producers: 100, now: .seconds(10)) == 5)
    }
}
