import QueueHistory
import Simulation
import Synchronization
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// One run: a simulated ZooKeeper, a queue in it, what its members write down, and the judgement at the end.
struct Theatre: Sendable {
    let subject: any Subject
    let simulation: Simulation
    let history = History()
    private let sessions = Sessions()
    private let members = Members()
    private let witness = TreeWitness()

    var clock: VirtualClock { simulation.clock }

    static let sessionTimeout = Duration.seconds(10)
    /// A recovery that rests so long between its passes.
    static let recoveryPeriod = Duration.seconds(5)
    /// What remains to do, with the patience of a recovery that finds another's lock.
    private static let work = Duration.seconds(12)

    init(_ subject: any Subject, _ order: Simulation.Order = .fixed) {
        self.subject = subject
        simulation = Simulation(order) { [witness] in witness.see($0) }
    }

    /// Runs the program, heals everything, drains the queue, and judges.
    ///
    /// - Returns: the promises that were not kept.
    func run(isOrdered: Bool = false, _ body: @escaping @Sendable (Theatre) async throws -> Void) -> [Violation] {
        do {
            let inTime = try simulation.run {
                try await body(self)
                return try await drain()
            }
            let checked = Checker(history.events, remains: remains).violations(isOrdered: isOrdered)
            return witness.violations + checked + countViolations + inTime + leftBehind
        } catch is Simulation.Stuck {
            return witness.violations + [Violation(.drainedInTime, "something waits for ever")]
        } catch {
            return witness.violations + [Violation(.drainedInTime, "\(error)")]
        }
    }

    /// A process of its own. It ends with the program.
    func session(_ name: String, faults: FaultPlan? = nil) -> InMemorySession {
        let session = simulation.zookeeper.connect(
            name, sessionTimeout: Self.sessionTimeout, callDeadline: .seconds(30), faults: faults)
        sessions.add(session)
        return session
    }

    // MARK: Members

    /// Sends the messages one after the other, or all at once.
    func produce(_ payloads: [String], by name: String, _ store: InMemorySession, together: Bool = false) async throws {
        let sender = try subject.sender(store)
        members.add(sender.object)
        for batch in together ? [payloads] : payloads.map({ [$0] }) {
            for payload in batch { note(.sending, name, payload) }
            let result = await sender.send(batch)
            for payload in batch {
                switch result {
                case .stored: note(.sent, name, payload)
                case .unknown: note(.sendUnknown, name, payload)
                case .refused: note(.sendRefused, name, payload)
                }
            }
        }
        await sender.close()
    }

    enum Act: Sendable { case acknowledge, giveBack, deadLetter, hold(Duration), abandon }

    /// Takes messages until none comes for so long.
    func consume(
        by name: String, _ store: InMemorySession, prefetch: Int = 2, idle: Duration = .zero,
        _ decide: @Sendable (any Delivery) -> Act = { _ in .acknowledge }
    ) async throws {
        var receiver = try receiver(store, prefetch: prefetch)
        while true {
            do {
                guard let delivery = try await receiver.next(within: idle) else { break }
                note(.delivered, name, delivery)
                await settle(delivery, decide(delivery), name)
            } catch {
                // A consumer says what it cannot cure; this one's session was ended for good.
                break
            }
        }
        await receiver.close()
    }

    /// A consumer, of which nothing may be left in the end.
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        let receiver = try subject.receiver(store, prefetch: prefetch)
        members.add(receiver.object)
        return receiver
    }

    private func settle(_ delivery: any Delivery, _ act: Act, _ name: String) async {
        switch act {
        case .hold(let time):
            try? await simulation.clock.sleep(for: time)
            await settle(delivery, .acknowledge, name)
        case .acknowledge:
            note(.acknowledging, name, delivery)
            switch await delivery.acknowledge() {
            case .done: note(.acknowledged, name, delivery)
            case .lost: note(.leaseLost, name, delivery)
            case .unknown: note(.acknowledgeUnknown, name, delivery)
            }
        case .giveBack: note(await delivery.giveBack() == .done ? .givenBack : .giveBackUnknown, name, delivery)
        case .deadLetter:
            note(await delivery.deadLetter() == .done ? .deadLettered : .deadLetterUnknown, name, delivery)
        case .abandon: break
        }
    }

    /// Takes messages and is killed while it holds them.
    func crash(by name: String, _ store: InMemorySession, holding count: Int) async throws {
        var receiver = try receiver(store, prefetch: count)
        var held: [any Delivery] = []
        while held.count < count, let delivery = try? await receiver.next(within: .seconds(1)) {
            note(.delivered, name, delivery)
            held.append(delivery)
        }
        store.crash()
        try await simulation.clock.sleep(for: Self.sessionTimeout + .seconds(1))
    }

    /// Looks for what has failed, again and again for so long.
    func recover(_ store: InMemorySession, for time: Duration) async throws {
        let end = simulation.clock.now.offset + time
        while simulation.clock.now.offset < end {
            try? await subject.recover(store)
            try await simulation.clock.sleep(for: Self.recoveryPeriod)
        }
    }

    private func note(_ kind: HistoryEvent.Kind, _ member: String, _ payload: String) {
        history.add(HistoryEvent(kind, by: member, payload, time: milliseconds))
    }

    private func note(_ kind: HistoryEvent.Kind, _ member: String, _ delivery: any Delivery) {
        history.add(
            HistoryEvent(
                kind, by: member, delivery.payload, token: delivery.token, deliveryCount: delivery.deliveryCount,
                name: delivery.name, time: milliseconds))
    }

    private var milliseconds: Int64 { Int64(simulation.clock.now.offset / .milliseconds(1)) }

    // MARK: The end

    /// Takes everything that is left, with members that nothing happens to.
    private func drain() async throws -> [Violation] {
        for session in sessions.all { session.close() }
        let store = session("drain")
        let start = simulation.clock.now.offset
        let limit = Self.sessionTimeout + Self.recoveryPeriod + Self.work
        while true {
            try await subject.recover(store)
            try await consume(by: "drain", store)
            if remains.ready.isEmpty && remains.held.isEmpty { break }
            if simulation.clock.now.offset - start > limit {
                return [Violation(.drainedInTime, "\(remains.ready + remains.held) are left after \(limit)")]
            }
            try await simulation.clock.sleep(for: .seconds(1))
        }
        // What takes its time to be counted as garbage: half-made registrations, lanes, sessions of the dead.
        for _ in 0..<3 {
            try await simulation.clock.sleep(for: .seconds(31))
            try await subject.recover(store)
        }
        store.close()
        return []
    }

    /// What members have left in this process.
    private var leftBehind: [Violation] {
        let interests = sessions.all.reduce(0) { $0 + $1.watches.interestCount }
        var violations = interests == 0 ? [] : [Violation(.nothingLeftBehind, "\(interests) interests in watches")]
        if simulation.zookeeper.watchCount > 0 {
            violations.append(
                Violation(.nothingLeftBehind, "\(simulation.zookeeper.watchCount) watches at the servers"))
        }
        if members.alive > 0 {
            violations.append(Violation(.nothingLeftBehind, "\(members.alive) members that a task still holds"))
        }
        return violations
    }

    private var remains: Remains {
        var remains = Remains()
        let parents: Set = ["items", "partial", "consumers", "dead", "producers"]
        for (path, node) in simulation.zookeeper.nodes where path.hasPrefix("/queue/") {
            let parts = path.split(separator: "/").dropFirst().map(String.init)
            let message = Remains.Message(
                name: parts.last ?? "", payload: String(decoding: node.data ?? [], as: UTF8.self))
            switch (parts[0], parts.count) {
            case ("items", 2) where node.stat.dataLength > 0: remains.ready.append(message)
            case ("partial", 2): remains.held.append(message)
            case ("consumers", 4) where parts[2] == "item": remains.held.append(message)
            case ("consumers", 3) where parts[2] == "item" && node.stat.dataLength > 0: remains.held.append(message)
            case ("dead", 2): remains.dead.append(message)
            case ("dead", 3) where parts[2] == "cause": break
            case (let name, 1) where parents.contains(name): break
            default: remains.garbage.append(path)
            }
        }
        return remains
    }

    /// The count that a message says is the number of times that it was claimed and might have been seen.
    private var countViolations: [Violation] {
        history.events.filter { $0.kind == .delivered && $0.deliveryCount > witness.claims(of: $0.message) }.map {
            Violation(
                .deliveriesCounted,
                "\($0.message) says \($0.deliveryCount) and was claimed \(witness.claims(of: $0.message)) times")
        }
    }
}

private final class Sessions: Sendable {
    private let storage = Mutex<[InMemorySession]>([])
    var all: [InMemorySession] { storage.withLock { $0 } }
    func add(_ session: InMemorySession) { storage.withLock { $0.append(session) } }
}

/// Producers and consumers, as long as anybody holds them.
private final class Members: Sendable {
    private struct Member: Sendable {
        // Only asked whether it is there.
        nonisolated(unsafe) weak var object: AnyObject?
    }
    private let storage = Mutex<[Member]>([])
    var alive: Int { storage.withLock { $0.count { $0.object != nil } } }
    func add(_ object: AnyObject?) {
        let member = Member(object: object)
        storage.withLock { $0.append(member) }
    }
}
