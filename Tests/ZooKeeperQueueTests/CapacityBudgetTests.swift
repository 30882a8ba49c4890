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

    @Test("Shares that others do not see exceed the capacity by at most a tenth", arguments: [1, 4, 100])
    func unusedShares(producers: Int) {
        var budgets = (0..<producers).map { _ in budget() }
        // All of them measure an empty queue, another producer fills it, and then they use what they have taken.
        for index in budgets.indices {
            budgets[index].update(with: .init(nodes: 0, bytes: nil, producers: producers), now: .zero)
        }
        var stored = 10_000
        for index in budgets.indices {
            while budgets[index].admits(entry(stored), now: .milliseconds(99)) { stored += 1 }
        }
        #expect(stored > 10_000 && stored <= 11_000)
    }

    @Test("A producer returns to half its share after a pause, after an unused share, and after a full queue")
    func smallShareAgain() {
        var budget = budget()
        #expect(fill(&budget, nodes: 0, producers: 100, now: .zero) == 10)
        #expect(fill(&budget, nodes: 10, producers: 100, now: .milliseconds(10)) == 20)
        #expect(fill(&budget, nodes: 30, producers: 100, now: .seconds(10)) == 10)
        #expect(fill(&budget, nodes: 40, producers: 100, now: .seconds(10), atMost: 5) == 5)
        #expect(fill(&budget, nodes: 45, producers: 100, now: .seconds(10)) == 10)
        #expect(fill(&budget, nodes: 10_000, producers: 100, now: .seconds(10)) == 0)
        #expect(fill(&budget, nodes: 10_000, producers: 100, now: .seconds(10)) == 0)
        #expect(fill(&budget, nodes: 9_000, producers: 100, now: .seconds(10)) == 5)
    }
}
