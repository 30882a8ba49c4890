import Foundation
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The consumer's decisions, without ZooKeeper and without concurrency.
@Suite(.timeLimit(.minutes(10)))
struct ConsumerStateMachineTests {
    private static let eventsPerRun = 1_000

    @Test("Random events break no rule: each caller gets one result, and each lease is handed out once")
    func randomEvents() throws {
        var handedOut = 0
        var transitions: Set<String> = []
        for seed in 0..<UInt64(RandomEvents.count / Self.eventsPerRun) {
            let driver = try Self.play(seed)
            handedOut += driver.handedOutCount
            transitions.formUnion(driver.transitions)
            guard !driver.violations.isEmpty else { continue }
            let trace = try Self.play(seed, isTraced: true).trace?.suffix(30) ?? []
            Issue.record("seed \(seed): \(driver.violations.prefix(3))\n\(trace.joined(separator: "\n"))")
            return
        }
        print("\(RandomEvents.count) events, \(handedOut) messages handed out")
        #expect(handedOut > RandomEvents.count / 100)
        let documented = try RandomEvents.documentedTransitions(under: "### The consumer's states")
        #expect(transitions.isSubset(of: documented), "not documented: \(transitions.subtracting(documented))")
        if RandomEvents.count >= 100_000 { #expect(documented.subtracting(transitions).isEmpty) }
    }

    /// Plays one run, which is always the same for a seed.
    private static func play(_ seed: UInt64, isTraced: Bool = false) throws -> ConsumerDriver {
        var driver = try ConsumerDriver(
            seed: seed, prefetch: [1, 2, 5, 128][Int(seed % 4)], onDemand: seed.isMultiple(of: 7))
        if isTraced { driver.trace = [] }
        for _ in 0..<eventsPerRun where driver.violations.isEmpty { driver.step() }
        if driver.violations.isEmpty, seed.isMultiple(of: 2) { driver.settleDown() }
        if driver.violations.isEmpty { driver.close() }
        return driver
    }

    private func machine(prefetch: Int = 4) throws -> ConsumerStateMachine {
        let iterators = IteratorCount()
        iterators.increment()
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        return ConsumerStateMachine(queue, .init(prefetch: prefetch), iterators)
    }

    @Test("A request starts the reader once, and waits")
    func requestStartsTheReader() throws {
        var machine = try machine()
        let request = machine.requested(within: nil, now: .zero)
        guard case .wait = machine.answer(request, now: .zero) else {
            Issue.record("The request does not wait")
            return
        }
        machine.waits(1, now: .zero)
        let starts = machine.takeActions().count { if case .read = $0 { true } else { false } }
        #expect(starts == 1 && machine.isReading && machine.demand == 1)
    }

    @Test("A request with a limit of zero returns nothing only after a scan that began later")
    func zeroLimit() throws {
        var machine = try machine()
        machine.readIfNeeded()
        _ = machine.scanBegins()
        machine.foundNothing()
        let request = machine.requested(within: .zero, now: .zero)
        guard case .wait = machine.answer(request, now: .zero) else {
            Issue.record("The request used the result of an earlier scan")
            return
        }
        #expect(machine.takeActions().contains { if case .rescan = $0 { true } else { false } })
        machine.scanEnds()
        _ = machine.scanBegins()
        machine.foundNothing()
        guard case .nothing = machine.answer(request, now: .zero) else {
            Issue.record("The request ignored the result of the scan")
            return
        }
    }

    @Test("A request that starts the reader causes one scan")
    func oneScan() throws {
        var machine = try machine()
        let request = machine.requested(within: .zero, now: .zero)
        _ = machine.answer(request, now: .zero)
        let actions = machine.takeActions()
        #expect(actions.contains { if case .read = $0 { true } else { false } })
        #expect(!actions.contains { if case .rescan = $0 { true } else { false } })
    }

    @Test("A transaction whose claims were dropped does not give up the position in the wait queue")
    func droppedClaims() throws {
        var machine = try machine()
        let registration = Registration(
            paths: machine.queue.tree.consumer("consumer-1"), sessionID: 1, name: "consumer-1")
        machine.registered(registration)
        machine.joined("0000000000000000001-consumer-1")
        var transaction = ConsumerTransaction(registration: registration, epoch: SequenceEpoch(), maximumDeliveries: 10)
        transaction.position = machine.position.name
        let plan = transaction.plan(machine.queue, machine.heldLeases)
        #expect(!plan.operations.contains { $0.path.hasPrefix("/queue/idle/") })
        let connected = SessionState(phase: .connected, sessionID: 1, timeout: .seconds(10), expirations: 0)
        machine.applied(transaction, plan, token: 1, session: connected, now: .zero)
        #expect(machine.position == .waiting("0000000000000000001-consumer-1"))
    }

    @Test("When the session ends, every lease is lost, and waiting callers are woken")
    func sessionEnd() throws {
        var machine = try machine()
        let registration = Registration(
            paths: machine.queue.tree.consumer("consumer-1"), sessionID: 1, name: "consumer-1")
        machine.registered(registration)
        let nodes = try (0..<2).map { number in
            let entry = ReadyList.Entry(
                name: try #require(ItemName("item-100-000000000\(number)")), isEarlier: false)
            return try #require(MessageNode(entry, node: Node(data: Array("x".utf8), stat: Stat())))
        }
        var transaction = ConsumerTransaction(registration: registration, epoch: SequenceEpoch(), maximumDeliveries: 10)
        transaction.claims = nodes
        let connected = SessionState(phase: .connected, sessionID: 1, timeout: .seconds(10), expirations: 0)
        machine.applied(
            transaction, transaction.plan(machine.queue, machine.heldLeases), token: 1, session: connected, now: .zero)
        let request = machine.requested(within: nil, now: .zero)
        guard case .message(let handedOut) = machine.answer(request, now: .zero) else {
            Issue.record("No message was handed out")
            return
        }
        #expect(machine.leases.count == 2 && machine.buffer.count == 1)
        _ = machine.takeActions()
        machine.sessionChanged(
            SessionState(phase: .connected, sessionID: 2, timeout: .seconds(10), expirations: 1))
        #expect(machine.registration == nil && machine.leases.isEmpty && machine.buffer.isEmpty)
        let actions = machine.takeActions()
        let lost = actions.compactMap { action in
            if case .update(let lease, .lost) = action { lease } else { nil }
        }
        #expect(lost.count == 2 && lost.contains { $0 === handedOut })
        #expect(actions.contains { if case .stopWatching = $0 { true } else { false } })
        #expect(actions.contains { if case .becameEmpty = $0 { true } else { false } })
        #expect(actions.contains { if case .wake = $0 { true } else { false } })
    }
}
