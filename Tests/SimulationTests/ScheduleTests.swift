import Foundation
import QueueHistory
import Testing
import ZooKeeperQueue

/// Two producers, two consumers, one or two recoveries and three messages, in very many orders, with faults.
@Suite(.timeLimit(.minutes(10)))
struct ScheduleTests {
    /// How many orders, and from which seed on: `SCHEDULES=100000 SEED=7 make test`.
    private static let environment = ProcessInfo.processInfo.environment
    private static let count = environment["SCHEDULES"].flatMap(Int.init) ?? 3_000
    private static let seed = environment["SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max)

    /// Every second one keeps several messages in a node, and in every third one the server's numbers begin anew, often.
    private static func subject(_ seed: UInt64) -> OurQueue {
        var subject = OurQueue()
        subject.attributes.maximumBatchSize = seed.isMultiple(of: 2) ? 2 : 1
        if seed.isMultiple(of: 3) { subject.attributes.sequenceRolloverThreshold = 1 + Int(seed / 3 % 3) }
        return subject
    }

    @Test func everyPromiseIsKept() async {
        let found = await concurrently(Self.count) { number -> String? in
            let seed = Self.seed &+ UInt64(number)
            let violations = Schedule(seed: seed).play(Self.subject(seed)).violations
            return violations.isEmpty ? nil : "  seed \(seed): \(violations)"
        }
        print("\(Self.count) schedules from seed \(Self.seed), \(found.count) with violations")
        if !found.isEmpty { Issue.record("\n\(found.prefix(20).map(\.result).joined(separator: "\n"))") }
    }

    @Test func aSeedGivesTheSameRunAgain() {
        for seed in UInt64(0)..<50 {
            let runs = (0..<2).map { _ in Schedule(seed: seed).play(Self.subject(seed)).harness.history.events }
            #expect(runs[0] == runs[1], "seed \(seed)")
        }
    }
}
