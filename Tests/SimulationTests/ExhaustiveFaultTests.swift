import Foundation
import QueueHistory
import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

/// Every protocol, with every fault at every one of its calls.
@Suite(.timeLimit(.minutes(10)))
struct ExhaustiveFaultTests {
    private func makeQueue(_ scenario: Scenario, _ maximumBatchSize: Int) -> OurQueue {
        OurQueue(
            attributes: .init(
                maximumDeliveries: scenario.maximumDeliveries, retryBlocksGroup: scenario.retryBlocksGroup,
                leaseTimeout: scenario.leaseTimeout,
                deduplicationWindow: .seconds(60),
                maximumBatchSize: maximumBatchSize, capacity: scenario.capacity,
                sequenceRolloverThreshold: scenario.sequenceRolloverThreshold),
            effects: scenario.expectedNodes.isEmpty ? nil : "/effects", copies: scenario.copies, delay: scenario.delay,
            requeueDelay: scenario.requeueDelay, expiry: scenario.expiry, groups: scenario.groups,
            sendsIDs: scenario.sendsIDs)
    }

    @Test("Every promise is kept with any fault at any call of a protocol", arguments: Scenario.all, [1, 3])
    func oneFault(_ scenario: Scenario, maximumBatchSize: Int) async {
        guard maximumBatchSize == 1 || scenario.dependsOnBatches else { return }
        let queue = makeQueue(scenario, maximumBatchSize)
        let (calls, result) = scenario.run(queue)
        #expect(result.passed, "without a fault: \(result.violations)")
        let faults = Fault.allCases
        let found = await concurrently(calls * faults.count) { number -> [Violation]? in
            let (call, fault) = (number / faults.count + 1, faults[number % faults.count])
            let violations = scenario.run(queue) { $0.number == call ? fault : nil }.result.violations
            return violations.isEmpty ? nil : violations
        }
        if !found.isEmpty {
            let lines = found.map { number, violations in
                "  \(faults[number % faults.count]) at call \(number / faults.count + 1): \(violations)"
            }
            Issue.record("\(scenario):\n\(lines.prefix(20).joined(separator: "\n"))")
        }
        print(
            "\(scenario), \(maximumBatchSize) in a node: \(calls) calls, \(calls * faults.count) runs, \(found.count) with violations"
        )
    }

    @Test(
        "Every promise is kept with any fault at any call, and a second one at any later call",
        arguments: [
            Scenario.sendInFlight, .acknowledge, .acknowledgeTogether, .recovery, .acknowledgeSending, .transaction,
            .sendToGroup, .consumeGroup, .groupOfFailedConsumer,
        ], [1, 3])
    func twoFaults(_ scenario: Scenario, maximumBatchSize: Int) async {
        guard maximumBatchSize == 1 || scenario.dependsOnBatches else { return }
        let queue = makeQueue(scenario, maximumBatchSize)
        // A fault adds calls to the protocol, because the client has to resolve the fault.
        let last = scenario.run(queue).calls + 6
        let faults = Fault.allCases
        let pairs = (1..<last).flatMap { first in (first + 1...last).map { (first, $0) } }
        // Each test run plays one pair in `part`, chosen at random. `EXHAUSTIVE=1 make test` plays all.
        let total = pairs.count * faults.count * faults.count
        let part = ProcessInfo.processInfo.environment["EXHAUSTIVE"].flatMap(Int.init) ?? 100
        let offset = Int.random(in: 0..<part)
        let found = await concurrently((total - offset + part - 1) / part) { index -> String? in
            let number = index * part + offset
            let (first, second) = pairs[number / (faults.count * faults.count)]
            let a = faults[number / faults.count % faults.count]
            let b = faults[number % faults.count]
            let violations = scenario.run(queue) { $0.number == first ? a : $0.number == second ? b : nil }
                .result.violations
            return violations.isEmpty ? nil : "\(a) at call \(first), \(b) at call \(second): \(violations)"
        }
        if !found.isEmpty {
            Issue.record("\(scenario):\n\(found.prefix(20).map { "  " + $0.result }.joined(separator: "\n"))")
        }
        print(
            "\(scenario), \(maximumBatchSize) in a node: one in \(part) of \(total) runs with two faults, \(found.count) with violations"
        )
    }
}
