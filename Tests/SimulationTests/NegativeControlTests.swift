import QueueHistory
import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

/// Wrong ways to keep a queue in ZooKeeper: the checker must catch each, and for the right reason: by what members saw and
/// what was left, without the witness that knows the tree.
@Suite(.timeLimit(.minutes(5)))
struct NegativeControlTests {
    /// What is found, and at which fault first; call 0 is none.
    private func found(
        in subject: any Subject, _ episodes: [Scenario], _ judged: @escaping @Sendable (CheckResult) -> [Violation]
    ) async -> [Invariant: String] {
        var found: [Invariant: String] = [:]
        for scenario in episodes {
            let calls = scenario.play(subject).calls
            let faults = Fault.allCases
            let runs = await concurrently((calls + 1) * faults.count) { number -> [Violation]? in
                let (call, fault) = (number / faults.count, faults[number % faults.count])
                return judged(scenario.play(subject) { $0.number == call ? fault : nil }.result)
            }
            for (number, violations) in runs {
                let call = number / faults.count
                let when = call == 0 ? "without a fault" : "\(faults[number % faults.count]) at call \(call)"
                for violation in violations where found[violation.invariant] == nil {
                    found[violation.invariant] = "\(scenario), \(when): \(violation.what)"
                }
            }
        }
        return found
    }

    private static let common: [Scenario] = [
        .send, .acknowledge, .deadLetter, .recovery, .recoveryOfTheLiving, .slowHandler, .crash,
    ]

    @Test func withoutAFlawNothingIsFound() async {
        let found = await found(in: FlawedQueue(flaw: nil), Self.common, \.violations)
        #expect(found.isEmpty, "\(found)")
    }

    @Test(arguments: [
        (FlawedQueue.Flaw.deletesBeforeHandler, Invariant.noneLost),
        (.acknowledgesWithoutLease, .lostLeaseChangesNothing),
        (.claimsInSeparateSteps, .noneLost),
        (.resendsWithoutLane, .storedOnce),
        (.recoversTheLiving, .oneLease),
    ])
    func aFlawIsFound(_ flaw: FlawedQueue.Flaw, _ invariant: Invariant) async {
        let found = await found(in: FlawedQueue(flaw: flaw), Self.common, \.byMembers)
        print("\(flaw): \(found[invariant] ?? "not found"); broken: \(found.keys.map(\.rawValue).sorted())")
        #expect(found[invariant] != nil, "\(found)")
    }

    @Test func withoutTheFormerBucketAMessageIsStoredTwice() {
        var subject = OurQueue(
            attributes: .init(deduplicationWindow: .seconds(60)), sendsIDs: true)
        #expect(Scenario.sendAgain.play(subject).result.isGood)
        subject.producersStore = { InterceptingStore.withoutFormerIDs($0) }
        let found = Scenario.sendAgain.play(subject).result.byMembers
        #expect(found.contains { $0.invariant == .storedOnce }, "\(found)")
    }

    /// A message is lost by a lost reply alone: with none, one message at a time goes well.
    @Test func theAncestorsAlgorithmIsFound() async throws {
        let healthy = Scenario.acknowledge.play(LegacyQueue()).result.byMembers
        #expect(healthy.isEmpty, "\(healthy)")
        let found = await found(in: LegacyQueue(), [.acknowledge], \.byMembers)
        print("the Python ancestor: \(found[.noneLost] ?? "not found"); broken: \(found.keys.map(\.rawValue).sorted())")
        #expect(try #require(found[.noneLost]).contains("replyLost"), "\(found)")
    }
}
