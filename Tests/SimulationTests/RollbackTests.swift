import QueueHistory
import Simulation
import Synchronization
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// The servers lose acknowledged writes while a member does not know the outcome of its own: what it reports afterwards
/// must be so.
@Suite(.timeLimit(.minutes(2)))
struct RollbackTests {
    // MARK: The rule alone

    /// How a member takes a version that is not the expected one, when it repeats a transaction whose answer was lost.
    enum Rule: CaseIterable, Sendable {
        /// Any other version means that the transaction was applied.
        case anyOther
        /// The next version does.
        case exactlyNext

        func isApplied(expected: Int32, found: Int32) -> Bool {
            switch self {
            case .anyOther: found != expected
            case .exactlyNext: found == expected + 1
            }
        }
    }

    enum Role: CaseIterable, Sendable { case producer, consumer }

    /// Does two transactions of one member, of which the second one's answer is lost, and between it and its repetition the
    /// servers roll back to the tree before the first.
    ///
    /// - Returns: what the judge objects to.
    private func violations(_ role: Role, _ rule: Rule, rollsBack: Bool) throws -> Set<Invariant> {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        let history = History()
        try simulation.run {
            let multis = Counter()
            let store = zookeeper.connect(
                faults: { $0.request == "multi" && multis.next() == 3 ? Fault.replyLost : nil })
            let messages = ["first", "second"]
            func note(_ kind: HistoryEvent.Kind, _ message: String) {
                history.add(HistoryEvent(kind, by: "member", message, token: 1, deliveryCount: 1, name: message))
            }
            func items(_ change: (String) -> ZooKeeper.ZooKeeperOperation) -> [ZooKeeper.ZooKeeperOperation] {
                messages.map { change("/items/\($0)") }
            }
            let isConsumer = role == .consumer
            _ = try await store.multi(
                [.create("/member", data: nil), .create("/items", data: nil)]
                    + (isConsumer ? items { .create($0, data: nil) } : []))
            for message in messages {
                note(.sending, message)
                if isConsumer { for kind in [.sent, .delivered] as [HistoryEvent.Kind] { note(kind, message) } }
            }
            history.add(HistoryEvent(.checkpoint, by: "servers", ""))
            let checkpoint = zookeeper.checkpoint()
            for (version, message) in messages.enumerated() {
                let (version, path) = (Int32(version), "/items/\(message)")
                let change = isConsumer ? ZooKeeper.ZooKeeperOperation.delete(path) : .create(path, data: nil)
                let operations = [ZooKeeper.ZooKeeperOperation.set("/member", data: nil, version: version), change]
                var isDone = true
                if isConsumer { note(.acknowledging, message) }
                do {
                    _ = try await store.multi(operations)
                } catch let error as ZooKeeperError where error.outcome == .unknown {
                    if rollsBack {
                        history.add(HistoryEvent(.rollback, by: "servers", ""))
                        zookeeper.restore(checkpoint)
                    }
                    do {
                        _ = try await store.multi(operations)
                    } catch let error as ZooKeeperError where error.code == .badVersion {
                        let found = try await store.get("/member").stat.version
                        isDone = rule.isApplied(expected: version, found: found)
                    }
                }
                switch (isConsumer, isDone) {
                case (true, true): note(.acknowledged, message)
                case (true, false): note(.acknowledgeUnknown, message)
                case (false, true): note(.sent, message)
                case (false, false): note(.sendUnknown, message)
                }
            }
        }
        let left = zookeeper.nodes.keys.filter { $0.hasPrefix("/items/") }.map(NodePath.name(of:))
        let finalState = FinalState(held: left.map { FinalState.Message(name: $0, payload: $0) })
        return Set(Checker(history.events, finalState: finalState).violations().map(\.invariant))
    }

    @Test("Without a rollback, both rules report what has happened", arguments: Role.allCases, Rule.allCases)
    func withoutARollback(_ role: Role, _ rule: Rule) throws {
        #expect(try violations(role, rule, rollsBack: false) == [])
    }

    @Test("Taking any other version for the next one reports what never happened", arguments: Role.allCases)
    func theOldRuleIsCaught(_ role: Role) throws {
        let expected: Invariant = role == .producer ? .noneLost : .acknowledgedIsFinal
        #expect(try violations(role, .anyOther, rollsBack: true) == [expected])
    }

    @Test("Taking the next version alone for applied reports nothing that is not so", arguments: Role.allCases)
    func theExactRuleReportsNothingWrong(_ role: Role) throws {
        #expect(try violations(role, .exactlyNext, rollsBack: true) == [])
    }

    // MARK: The queue

    /// Lets the servers roll back between a member's transaction whose answer was lost and its repetition, to the tree before
    /// the member's transaction before it.
    private final class Nemesis: Sendable {
        /// The number of the transaction whose answer is lost.
        private let target: Int
        private let state = Mutex<(harness: FaultHarness?, checkpoint: InMemoryZooKeeper.Checkpoint?)>((nil, nil))
        private let planned = Counter()
        private let performed = Counter()

        init(target: Int) { self.target = target }

        func enter(_ harness: FaultHarness) { state.withLock { $0.harness = harness } }

        var faults: FaultPlan {
            { [self] in $0.request == "multi" && planned.next() == target ? .replyLost : nil }
        }

        func store(_ session: InMemorySession) -> InterceptingStore {
            InterceptingStore(session: session) { [self] session, operations in
                let number = performed.next()
                let harness = state.withLock { $0.harness }
                if number == target - 1, let harness {
                    harness.history.add(HistoryEvent(.checkpoint, by: "servers", ""))
                    let checkpoint = harness.simulation.zookeeper.checkpoint()
                    state.withLock { $0.checkpoint = checkpoint }
                }
                do {
                    return try await session.multi(operations)
                } catch let error as ZooKeeperError where number == target && error.outcome == .unknown {
                    if let harness, let checkpoint = state.withLock({ $0.checkpoint }) {
                        // What was answered before is reported by then, and the session is not connected yet.
                        try await harness.clock.sleep(for: .milliseconds(5))
                        harness.history.add(HistoryEvent(.rollback, by: "servers", ""))
                        harness.simulation.zookeeper.restore(checkpoint)
                    }
                    throw error
                }
            }
        }
    }

    /// What members reported and is not so: all else may be the servers' doing.
    private func misreported(_ result: CheckResult) -> [Violation] {
        result.byMembers.filter { $0.invariant == .acknowledgedIsFinal || $0.invariant == .noneLost }
    }

    @Test("After a rollback a consumer reports no acknowledgement that is not in the tree", arguments: 2...8)
    func consumer(transaction: Int) {
        let nemesis = Nemesis(target: transaction)
        let harness = FaultHarness(OurQueue(consumersStore: { nemesis.store($0) }))
        nemesis.enter(harness)
        let result = harness.run { harness in
            try await harness.produce(["a", "b", "c", "d"], by: "producer", harness.session("producer"))
            try await harness.consume(by: "consumer", harness.session("consumer", faults: nemesis.faults))
        }
        #expect(misreported(result).isEmpty, "\(result.byMembers)")
    }

    @Test("After a rollback a producer reports no message as stored that is not in the tree", arguments: 2...8)
    func producer(transaction: Int) {
        let nemesis = Nemesis(target: transaction)
        let harness = FaultHarness(OurQueue(producersStore: { nemesis.store($0) }))
        nemesis.enter(harness)
        let result = harness.run { harness in
            try await harness.produce(
                ["a", "b", "c", "d"], by: "producer", harness.session("producer", faults: nemesis.faults))
        }
        #expect(misreported(result).isEmpty, "\(result.byMembers)")
    }
}
