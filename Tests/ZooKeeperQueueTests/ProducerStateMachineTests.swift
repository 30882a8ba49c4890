import Foundation
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The producer's decisions, without concurrency.
@Suite(.timeLimit(.minutes(10)))
struct ProducerStateMachineTests {
    @Test("Random events break no rule: each caller is answered once, each message is stored once and in order")
    func randomEvents() throws {
        let (events, eventsOfARun) = (RandomEvents.count, 500)
        var stored = 0
        var transitions: Set<String> = []
        for seed in 0..<UInt64(events / eventsOfARun) {
            let driver = try Self.play(seed, eventsOfARun)
            stored += driver.storedCount
            transitions.formUnion(driver.transitions)
            guard !driver.violations.isEmpty else { continue }
            let trace = try Self.play(seed, eventsOfARun, isTraced: true).trace?.suffix(30) ?? []
            Issue.record("seed \(seed): \(driver.violations.prefix(3))\n\(trace.joined(separator: "\n"))")
            return
        }
        print("\(events) events, \(stored) messages stored")
        #expect(stored > events / 10)
        let documented = try RandomEvents.documentedTransitions(under: "### The producer's states")
        #expect(transitions.isSubset(of: documented), "not in the article: \(transitions.subtracting(documented))")
        if events >= 100_000 { #expect(documented.isSubset(of: transitions), "\(documented.subtracting(transitions))") }
    }

    /// A seed gives the same run again.
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
