import QueueHistory
import Testing
import ZooKeeperTestKit

/// Wrong ways to keep a queue in ZooKeeper: the checker must catch each, and for the right reason.
@Suite(.timeLimit(.minutes(5)))
struct NegativeControlTests {
    /// What was found in the members' history, and what in the tree by the witness; the former alone would do.
    private func invariantsBroken(by subject: any Subject, _ episodes: [Episode]) async -> [Invariant: String] {
        var found: [Invariant: String] = [:]
        for episode in episodes {
            let calls = episode.play(subject).calls
            let faults = Fault.allCases
            let runs = await concurrently((calls + 1) * faults.count) { number -> [Violation]? in
                let (call, fault) = (number / faults.count, faults[number % faults.count])
                return episode.play(subject) { $0.number == call ? fault : nil }.violations
            }
            for (number, violations) in runs {
                let fault = "\(faults[number % faults.count]) at call \(number / faults.count)"
                for violation in violations where found[violation.invariant] == nil {
                    found[violation.invariant] = "\(episode), \(fault): \(violation.what)"
                }
            }
        }
        return found
    }

    private static let common: [Episode] = [
        .send, .acknowledge, .deadLetter, .recovery, .recoveryOfTheLiving, .slowHandler, .crash,
    ]

    @Test func withoutAFlawNothingIsFound() async {
        let found = await invariantsBroken(by: SketchQueue(flaw: nil), Self.common)
        #expect(found.isEmpty, "\(found)")
    }

    @Test(arguments: [
        (SketchQueue.Flaw.deletesBeforeHandler, Invariant.noneLost),
        (.acknowledgesWithoutLease, .lostLeaseChangesNothing),
        (.claimsInSeparateSteps, .noneLost),
        (.resendsWithoutLane, .storedOnce),
        (.recoversTheLiving, .oneLease),
    ])
    func aFlawIsFound(_ flaw: SketchQueue.Flaw, _ invariant: Invariant) async {
        let found = await invariantsBroken(by: SketchQueue(flaw: flaw), Self.common)
        print("\(flaw): \(found[invariant] ?? "not found"); broken: \(found.keys.map(\.rawValue).sorted())")
        #expect(found[invariant] != nil, "\(found)")
    }

    @Test func theAncestorsAlgorithmIsFound() async {
        let found = await invariantsBroken(by: AncestorQueue(), Self.common)
        print("the Python ancestor: \(found[.noneLost] ?? "not found"); broken: \(found.keys.map(\.rawValue).sorted())")
        #expect(found[.noneLost] != nil, "\(found)")
    }
}
