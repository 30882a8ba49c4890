import Foundation
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The consumer's decisions, without ZooKeeper and without concurrency.
@Suite(.timeLimit(.minutes(10)))
struct ConsumerStateMachineTests {
    /// How many random events: `EVENTS=1000000 make test`.
    private static let events =
        ProcessInfo.processInfo.environment["EVENTS"].flatMap(Int.init) ?? 200_000
    private static let eventsOfARun = 1_000

    @Test(
        "Random events break no rule: each caller is answered once, each lease is handed out once, and everything ends")
    func randomEvents() throws {
        var handedOut = 0
        for seed in 0..<UInt64(Self.events / Self.eventsOfARun) {
            var driver = try ConsumerDriver(
                seed: seed, prefetch: [1, 2, 5, 128][Int(seed % 4)], onDemand: seed.isMultiple(of: 7))
            for _ in 0..<Self.eventsOfARun where driver.violations.isEmpty { driver.step() }
            if driver.violations.isEmpty { driver.settleDown() }
            handedOut += driver.handedOutCount
            try #require(driver.violations.isEmpty, "seed \(seed): \(driver.violations.prefix(3))")
        }
        print("\(Self.events) events, \(handedOut) messages handed out")
        #expect(handedOut > Self.events / 100)
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
            Issue.record("it does not wait")
            return
        }
        machine.waits(1, now: .zero)
        let starts = machine.takeActions().count { if case .read = $0 { true } else { false } }
        #expect(starts == 1 && machine.isReading && machine.demand == 1)
    }

    @Test("A caller with no time to wait is told that there is nothing only after a scan that began later")
    func noTimeToWait() throws {
        var machine = try machine()
        let scan = machine.scanBegins()
        machine.foundNothing()
        let request = machine.requested(within: .zero, now: .zero)
        guard case .wait = machine.answer(request, now: .zero) else {
            Issue.record("it takes the answer of an earlier scan")
            return
        }
        #expect(machine.takeActions().contains { if case .rescan = $0 { true } else { false } })
        machine.scanEnds(scan)
        _ = machine.scanBegins()
        machine.foundNothing()
        guard case .nothing = machine.answer(request, now: .zero) else {
            Issue.record("it does not believe the scan")
            return
        }
    }

    @Test("After the end of the session nothing is held, and every lease is told")
    func theSessionEnds() throws {
        var machine = try machine()
        let registration = Registration(
            paths: machine.queue.tree.consumer("consumer-1"), sessionID: 1, name: "consumer-1")
        machine.registered(registration)
        _ = machine.takeActions()
        machine.sessionChanged(
            SessionState(phase: .connected, sessionID: 2, timeout: .seconds(10), expirations: 1))
        #expect(machine.registration == nil && machine.leases.isEmpty && machine.buffer.isEmpty)
        #expect(machine.takeActions().contains { if case .stopWatchingSession = $0 { true } else { false } })
    }
}
