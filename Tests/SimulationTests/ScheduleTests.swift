import Foundation
import QueueHistory
import Testing
import ZooKeeperQueue

/// Two producers, two consumers, one or two recoveries and three messages, in thousands of random orders, with faults.
@Suite(.timeLimit(.minutes(10)))
struct ScheduleTests {
    /// The number of schedules and the first seed: `SCHEDULES=100000 SEED=7 make test`.
    private static let environment = ProcessInfo.processInfo.environment
    private static let count = environment["SCHEDULES"].flatMap(Int.init) ?? 3_000
    private static let seed = environment["SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max)

    /// Every second schedule stores two messages in a node. In every third one, the sequence numbers roll over after a
    /// few messages. Every fourth one has a short lease timeout. Every fifth one sends with a delay, and every seventh
    /// one requeues with one. Every ninth one sends a copy of each message with its acknowledgement, and another ninth
    /// sends a copy together with the message; half of these have IDs. Three of eight have groups, and no delays.
    private static func makeQueue(_ seed: UInt64) -> OurQueue {
        var queue = OurQueue()
        queue.attributes.maximumBatchSize = seed.isMultiple(of: 2) ? 2 : 1
        if seed.isMultiple(of: 3) { queue.attributes.sequenceRolloverThreshold = 1 + Int(seed / 3 % 3) }
        if seed % 4 == 1 {
            queue.attributes.leaseTimeout = .milliseconds(1_000 + Int(seed / 4 % 5_000))
        }
        if seed.isMultiple(of: 5) { queue.delay = .milliseconds(1 + Int(seed / 5 % 15_000)) }
        if seed % 9 < 2 {
            queue.copies = seed % 9 == 0 ? .whenAcknowledged : .whenSent
            queue.sendsIDs = (seed / 9).isMultiple(of: 2)
        }
        if seed % 8 < 3 {
            queue.groups = seed % 8 == 0 ? .one : .byFirstLetter
            queue.delay = .zero
            queue.attributes.retryBlocksGroup = !(seed / 8).isMultiple(of: 4)
        }
        if seed.isMultiple(of: 7) { queue.requeueDelay = .milliseconds(1 + Int(seed / 7 % 15_000)) }
        return queue
    }

    @Test("Every promise is kept in thousands of random schedules")
    func everyPromiseIsKept() async {
        let found = await concurrently(Self.count) { number -> String? in
            let seed = Self.seed &+ UInt64(number)
            let violations = Schedule(seed: seed).run(Self.makeQueue(seed)).violations
            return violations.isEmpty ? nil : "  seed \(seed): \(violations)"
        }
        print("\(Self.count) schedules from seed \(Self.seed), \(found.count) with violations")
        if !found.isEmpty { Issue.record("\n\(found.prefix(20).map(\.result).joined(separator: "\n"))") }
    }

    @Test("The same seed gives the same history again")
    func deterministic() {
        for seed in UInt64(0)..<50 {
            let runs = (0..<2).map { _ in Schedule(seed: seed).run(Self.makeQueue(seed)).harness.history.events }
            #expect(runs[0] == runs[1], "seed \(seed)")
        }
    }
}
