import QueueHistory
import Simulation
import Synchronization
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// Servers that lose acknowledged writes while the outcome of a process's transaction is unknown.
@Suite(.timeLimit(.minutes(2)))
struct RollbackTests {
    // MARK: The rule alone

    /// How a process interprets an unexpected version when it repeats a transaction whose reply was lost.
    enum Rule: CaseIterable, Sendable {
        /// Any version other than the expected one means that the transaction was applied.
        case anyOther
        /// Only the next version means that the transaction was applied.
        case exactlyNext

        func isApplied(expected: Int32, found: Int32) -> Bool {
            switch self {
            case .anyOther: found != expected
            case .exactlyNext: found == expected + 1
            }
        }
    }

    enum Role: CaseIterable, Sendable { case producer, consumer }

    /// Performs two transactions of one process. The reply to the second one is lost. Before the process repeats it,
    /// the servers can roll back to the tree before the first one.
    ///
    /// - Returns: the promises that the checker finds broken.
    private func violations(_ role: Role, _ rule: Rule, rollsBack: Bool) throws -> Set<Invariant> {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        let history = History()
        try simulation.run {
            let multis = Counter()
            let store = zookeeper.connect(
                faults: { $0.request == "multi" && multis.next() == 3 ? Fault.replyLost : nil })
            let messages = ["first", "second"]
            func record(_ kind: HistoryEvent.Kind, _ message: String) {
                history.add(HistoryEvent(kind, by: "process", message, token: 1, deliveryCount: 1, name: message))
            }
            func items(_ change: (String) -> ZooKeeper.ZooKeeperOperation) -> [ZooKeeper.ZooKeeperOperation] {
                messages.map { change("/items/\($0)") }
            }
            let isConsumer = role == .consumer
            _ = try await store.multi(
                [.create("/process", data: nil), .create("/items", data: nil)]
                    + (isConsumer ? items { .create($0, data: nil) } : []))
            for message in messages {
                record(.sending, message)
                if isConsumer { for kind in [.sent, .delivered] as [HistoryEvent.Kind] { record(kind, message) } }
            }
            history.add(HistoryEvent(.checkpoint, by: "servers", ""))
            let checkpoint = zookeeper.checkpoint()
            for (version, message) in messages.enumerated() {
                let (version, path) = (Int32(version), "/items/\(message)")
                let change = isConsumer ? ZooKeeper.ZooKeeperOperation.delete(path) : .create(path, data: nil)
                let operations = [ZooKeeper.ZooKeeperOperation.set("/process", data: nil, version: version), change]
                var isDone = true
                if isConsumer { record(.acknowledging, message) }
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
                        let found = try await store.get("/process").stat.version
                        isDone = rule.isApplied(expected: version, found: found)
                    }
                }
                switch (isConsumer, isDone) {
                case (true, true): record(.acknowledged, message)
                case (true, false): record(.acknowledgeUnknown, message)
                case (false, true): record(.sent, message)
                case (false, false): record(.sendUnknown, message)
                }
            }
        }
        let remaining = zookeeper.nodes.keys.filter { $0.hasPrefix("/items/") }.map(NodePath.name(of:))
        let finalState = FinalState(held: remaining.map { FinalState.Message(name: $0, payload: $0) })
        return Set(Checker(history.events, finalState: finalState).violations().map(\.invariant))
    }

    @Test("Without a rollback, both rules report the true outcome", arguments: Role.allCases, Rule.allCases)
    func withoutRollback(_ role: Role, _ rule: Rule) throws {
        #expect(try violations(role, rule, rollsBack: false) == [])
    }

    @Test(
        "The checker catches the rule by which any other version counts as applied", arguments: Role.allCases)
    func anyOtherVersion(_ role: Role) throws {
        let expected: Invariant = role == .producer ? .noneLost : .acknowledgedIsFinal
        #expect(try violations(role, .anyOther, rollsBack: true) == [expected])
    }

    @Test("The rule by which only the next version counts as applied reports nothing false", arguments: Role.allCases)
    func nextVersion(_ role: Role) throws {
        #expect(try violations(role, .exactlyNext, rollsBack: true) == [])
    }

    // MARK: The queue

    /// Rolls the servers back between a transaction whose reply was lost and its repetition, to the tree before the
    /// preceding transaction of the process.
    private final class RollbackInjector: Sendable {
        /// The number of the transaction whose reply is lost.
        private let target: Int
        private let state = Mutex<(harness: FaultHarness?, checkpoint: InMemoryZooKeeper.Checkpoint?)>((nil, nil))
        private let planned = Counter()
        private let performed = Counter()

        init(target: Int) { self.target = target }

        func attach(to harness: FaultHarness) { state.withLock { $0.harness = harness } }

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
                        // Earlier replies have been reported by then, and the session is not connected again yet.
                        try await harness.clock.sleep(for: .milliseconds(5))
                        harness.history.add(HistoryEvent(.rollback, by: "servers", ""))
                        harness.simulation.zookeeper.restore(checkpoint)
                    }
                    throw error
                }
            }
        }
    }

    /// Returns the violations that false reports of a process cause. The rollback itself can cause other ones.
    private func falseReports(_ result: CheckResult) -> [Violation] {
        result.byHistory.filter { $0.invariant == .acknowledgedIsFinal || $0.invariant == .noneLost }
    }

    @Test("After a rollback a consumer reports no acknowledgement that is not in the tree", arguments: 2...8)
    func consumerAfterRollback(transaction: Int) {
        let injector = RollbackInjector(target: transaction)
        let harness = FaultHarness(OurQueue(consumerStore: { injector.store($0) }))
        injector.attach(to: harness)
        let result = harness.run { harness in
            try await harness.produce(["a", "b", "c", "d"], by: "producer", harness.session("producer"))
            try await harness.consume(by: "consumer", harness.session("consumer", faults: injector.faults))
        }
        #expect(falseReports(result).isEmpty, "\(result.byHistory)")
    }

    @Test("After a rollback a producer reports no message as stored that is not in the tree", arguments: 2...8)
    func producerAfterRollback(transaction: Int) {
        let injector = RollbackInjector(target: transaction)
        let harness = FaultHarness(OurQueue(producerStore: { injector.store($0) }))
        injector.attach(to: harness)
        let result = harness.run { harness in
            try await harness.produce(
                ["a", "b", "c", "d"], by: "producer", harness.session("producer", faults: injector.faults))
        }
        #expect(falseReports(result).isEmpty, "\(result.byHistory)")
    }
}
