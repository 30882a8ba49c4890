import Foundation
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The producer's decisions, without concurrency.
@Suite(.timeLimit(.minutes(10)))
struct ProducerStateMachineTests {
    @Test("Random events break no rule: each caller gets one result, and each message is stored once and in order")
    func randomEvents() throws {
        let (events, eventsPerRun) = (RandomEvents.count, 500)
        var stored = 0
        var transitions: Set<String> = []
        for seed in 0..<UInt64(events / eventsPerRun) {
            let driver = try Self.play(seed, eventsPerRun)
            stored += driver.storedCount
            transitions.formUnion(driver.transitions)
            guard !driver.violations.isEmpty else { continue }
            let trace = try Self.play(seed, eventsPerRun, isTraced: true).trace?.suffix(30) ?? []
            Issue.record("seed \(seed): \(driver.violations.prefix(3))\n\(trace.joined(separator: "\n"))")
            return
        }
        print("\(events) events, \(stored) messages stored")
        #expect(stored > events / 10)
        let documented = try RandomEvents.documentedTransitions(under: "### The producer's states")
        #expect(transitions.isSubset(of: documented), "not documented: \(transitions.subtracting(documented))")
        if events >= 100_000 {
            #expect(documented.isSubset(of: transitions), "not seen: \(documented.subtracting(transitions))")
        }
    }

    /// Plays one run, which is always the same for a seed.
    private static func play(_ seed: UInt64, _ events: Int, isTraced: Bool = false) throws -> ProducerDriver {
        var configuration = QueueProducer.Configuration(whenFull: seed.isMultiple(of: 5) ? .fail : .wait)
        configuration.minimumBatch = [1, 2, 32][Int(seed % 3)]
        if seed % 4 == 1 { configuration.batchesOfANode = 20 }
        var driver = try ProducerDriver(seed: seed, configuration: configuration)
        if isTraced { driver.trace = [] }
        for _ in 0..<events where driver.violations.isEmpty { driver.step() }
        if driver.violations.isEmpty, seed.isMultiple(of: 2) { driver.settleDown() }
        if driver.violations.isEmpty { driver.close(withFaults: !seed.isMultiple(of: 3)) }
        return driver
    }
}
