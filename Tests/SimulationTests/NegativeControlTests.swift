import QueueHistory
import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

/// Wrong algorithms, each of which the checker must catch by the histories and the final state alone.
@Suite(.timeLimit(.minutes(5)))
struct NegativeControlTests {
    /// Runs each scenario without a fault, and with each fault at each call.
    ///
    /// - Returns: the broken promises, each with the first run in which it was found.
    private func found(
        in queue: any QueueUnderTest, _ scenarios: [Scenario],
        _ select: @escaping @Sendable (CheckResult) -> [Violation]
    ) async -> [Invariant: String] {
        var found: [Invariant: String] = [:]
        for scenario in scenarios {
            let calls = scenario.run(queue).calls
            let faults = Fault.allCases
            // Call 0 stands for a run without a fault.
            let runs = await concurrently((calls + 1) * faults.count) { number -> [Violation]? in
                let (call, fault) = (number / faults.count, faults[number % faults.count])
                return select(scenario.run(queue) { $0.number == call ? fault : nil }.result)
            }
            for (number, violations) in runs {
                let call = number / faults.count
                let when = call == 0 ? "without a fault" : "\(faults[number % faults.count]) at call \(call)"
                for violation in violations where found[violation.invariant] == nil {
                    found[violation.invariant] = "\(scenario), \(when): \(violation.detail)"
                }
            }
        }
        return found
    }

    private static let common: [Scenario] = [
        .send, .acknowledge, .deadLetter, .recovery, .recoveryBesideLiveConsumer, .slowHandler, .crash,
    ]

    @Test("The simple queue without a flaw keeps every promise")
    func withoutFlaw() async {
        let found = await found(in: FlawedQueue(flaw: nil), Self.common, \.violations)
        #expect(found.isEmpty, "\(found)")
    }

    @Test(
        "The checker finds the promise that each flaw breaks",
        arguments: [
            (FlawedQueue.Flaw.deletesBeforeHandler, Invariant.noneLost),
            (.acknowledgesWithoutLease, .lostLeaseChangesNothing),
            (.claimsInSeparateOperations, .noneLost),
            (.resendsWithoutProducerNode, .storedOnce),
            (.recoversLiveConsumers, .oneLease),
        ])
    func withFlaw(_ flaw: FlawedQueue.Flaw, _ invariant: Invariant) async {
        let found = await found(in: FlawedQueue(flaw: flaw), Self.common, \.byHistory)
        print("\(flaw): \(found[invariant] ?? "not found"); broken: \(found.keys.map(\.rawValue).sorted())")
        #expect(found[invariant] != nil, "\(found)")
    }

    @Test("Without the check of the previous bucket of ids, a message is stored twice")
    func withoutPreviousBucket() {
        var queue = OurQueue(
            attributes: .init(deduplicationWindow: .seconds(60)), sendsIDs: true)
        #expect(Scenario.sendIDsAgain.run(queue).result.passed)
        queue.producerStore = { InterceptingStore.withoutPreviousIDs($0) }
        let found = Scenario.sendIDsAgain.run(queue).result.byHistory
        #expect(found.contains { $0.invariant == .storedOnce }, "\(found)")
    }

    @Test("A delayed message that moves in two steps is lost")
    func movedInTwoSteps() async {
        var queue = OurQueue(delay: .seconds(30), requeueDelay: .seconds(40))
        queue.recoveryStore = { InterceptingStore.movingInTwoSteps($0) }
        let found = await found(in: queue, [.moveDelayed], \.byHistory)
        #expect(found[.noneLost] != nil, "\(found)")
    }

    @Test("A due time by the producer's own clock, which is a day behind, lets messages come early")
    func ownClock() {
        var queue = OurQueue(delay: .seconds(7))
        #expect(Scenario.sendLater.run(queue).result.passed)
        queue.producerStore = { InterceptingStore.withOwnClock($0, offset: .seconds(-86_400)) }
        let found = Scenario.sendLater.run(queue).result.byHistory
        #expect(found.contains { $0.invariant == .neverEarly }, "\(found)")
    }

    @Test("A recovery that touches the version of the consumer whose leases it takes makes a lost request look applied")
    func touchedVersion() async {
        var queue = OurQueue(attributes: .init(leaseTimeout: .seconds(3)))
        queue.recoveryStore = { InterceptingStore.touchingConsumers($0) }
        let found = await found(in: queue, [.silentConsumer], \.byHistory)
        print("a touched version: \(found)")
        #expect(found[.acknowledgedIsFinal] != nil, "\(found)")
    }

    @Test("A message that is sent after an acknowledgement, instead of with it, is lost")
    func sentAfterAcknowledging() async {
        let scenario = Scenario.acknowledgeSendingIDs
        let queue = OurQueue(copies: .afterAcknowledging, sendsIDs: true)
        let found = await found(in: queue, [scenario], \.byHistory)
        print("sent after the acknowledgement: \(found)")
        #expect(found[.noneLost] != nil, "\(found)")
    }

    @Test("A recovery that lets a group go on before it redelivers the group's message breaks the order")
    func groupGoesOn() async {
        var queue = OurQueue(groups: .one)
        queue.recoveryStore = { InterceptingStore.lettingGroupsGoOn($0) }
        let found = await found(in: queue, [.groupOfFailedConsumer, .consumeGroup], \.byHistory)
        print("a group that goes on too early: \(found)")
        #expect(found[.groupOrderKept] != nil, "\(found)")
    }

    @Test("A queue without groups breaks the order of a key when a consumer fails")
    func withoutGroups() async {
        let found = await found(in: UngroupedQueue(), [.groupOfFailedConsumer, .overtakenByRecovery], \.byHistory)
        print("without groups: \(found)")
        #expect(found[.groupOrderKept] != nil, "\(found)")
    }

    @Test("A transaction without its mark is applied twice")
    func withoutMark() async {
        var queue = OurQueue(copies: .whenSent)
        queue.producerStore = { InterceptingStore.withoutMark($0) }
        let found = await found(in: queue, [.transaction], \.byHistory)
        print("a transaction without its mark: \(found)")
        #expect(found[.storedOnce] != nil, "\(found)")
    }

    /// Without a fault, the algorithm handles one message at a time correctly.
    @Test("The legacy client's algorithm loses a message when a reply is lost")
    func legacyAlgorithm() async throws {
        let healthy = Scenario.acknowledge.run(LegacyQueue()).result.byHistory
        #expect(healthy.isEmpty, "\(healthy)")
        let found = await found(in: LegacyQueue(), [.acknowledge], \.byHistory)
        print("the legacy client: \(found[.noneLost] ?? "not found"); broken: \(found.keys.map(\.rawValue).sorted())")
        #expect(try #require(found[.noneLost]).contains("replyLost"), "\(found)")
    }
}

/// Our queue, used without groups by a test that expects their order.
private struct UngroupedQueue: QueueUnderTest {
    private let queue = OurQueue()

    func sender(_ store: InMemorySession) throws -> any Sender { try queue.sender(store) }
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        try queue.receiver(store, prefetch: prefetch)
    }
    func recover(_ store: InMemorySession) async throws { try await queue.recover(store) }
    func group(of payload: String) -> String? { "group" }
}
