import QueueHistory
import Simulation
import Synchronization
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// One run: a simulated ZooKeeper, a queue in it, what its members write down, and the judgement at the end.
struct FaultHarness: Sendable {
    let subject: any Subject
    let simulation: Simulation
    let history = History()
    private let sessions = Sessions()
    private let members = Members()
    private let onStage = Stage()
    /// How often a message may be delivered.
    var maximumDeliveries = 10
    private let witness = InvariantMonitor()

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
    func run(isOrdered: Bool = false, _ body: @escaping @Sendable (FaultHarness) async throws -> Void) -> CheckResult {
        do {
            let inTime = try simulation.run {
                try await body(self)
                return try await drain()
            }
            let checker = Checker(history.events, finalState: finalState, maximumDeliveries: maximumDeliveries)
            return CheckResult(
                byMembers: checker.violations(isOrdered: isOrdered) + onStage.violations + inTime,
                byWitness: witness.violations + countViolations + leftBehind)
        } catch is Simulation.Stuck {
            let stuck = Violation(.drainedInTime, "something waits for ever, or goes round and round")
            return CheckResult(byMembers: onStage.violations + [stuck], byWitness: witness.violations)
        } catch {
            return CheckResult(byMembers: [Violation(.drainedInTime, "\(error)")], byWitness: witness.violations)
        }
    }

    /// A process of its own. It ends with the program.
    func session(_ name: String, faults: FaultPlan? = nil) -> InMemorySession {
        let session = simulation.zookeeper.connect(
            name, sessionTimeout: Self.sessionTimeout, requestTimeout: .seconds(30), faults: faults)
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
                note(result, name, payload, store)
            }
        }
        await sender.close()
    }

    /// Sends each message by a task of its own, so that several are under way at a time.
    func produceInFlight(_ payloads: [String], by name: String, _ store: InMemorySession) async throws {
        let sender = try subject.sender(store)
        members.add(sender.object)
        await withTaskGroup(of: Void.self) { group in
            for payload in payloads {
                note(.sending, name, payload)
                group.addTask {
                    note(await sender.send([payload]), name, payload, store)
                }
            }
        }
        await sender.close()
    }

    private func note(_ result: SendResult, _ name: String, _ payload: String, _ store: InMemorySession) {
        switch result {
        case .stored: note(.sent, name, payload)
        case .unknown: note(.sendUnknown, name, payload)
        case .refused(let why):
            note(.sendRefused, name, payload)
            object(store, "a send was refused: \(why)")
        }
    }

    enum Act: Sendable { case acknowledge, requeue, deadLetter, hold(Duration), abandon }

    /// Takes messages until none comes for so long.
    func consume(
        by name: String, _ store: InMemorySession, prefetch: Int = 2, idle: Duration = .zero,
        _ decide: @Sendable (any Delivery) -> Act = { _ in .acknowledge }
    ) async throws {
        var receiver = try receiver(store, prefetch: prefetch)
        var held: [any Delivery] = []
        while true {
            do {
                guard let delivery = try await receiver.next(within: idle) else { break }
                note(.delivered, name, delivery)
                onStage.enter(delivery, store)
                let act = decide(delivery)
                if case .abandon = act { held.append(delivery) }
                await settle(delivery, act, name)
                onStage.leave(delivery)
            } catch {
                object(store, "a consumer's sequence threw: \(error)")
                break
            }
        }
        // What a process that lives holds when its consumer is closed goes back uncounted.
        if store.sessionState.phase != .closed { for delivery in held { note(.interrupted, name, delivery) } }
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
            case .wrong(let what): onStage.object(Violation(.noneLost, "an acknowledgement threw: \(what)"))
            }
        case .requeue:
            onStage.leave(delivery)
            note(await delivery.requeue().isDone ? .givenBack : .giveBackUnknown, name, delivery)
        case .deadLetter:
            onStage.leave(delivery)
            note(await delivery.deadLetter().isDone ? .deadLettered : .deadLetterUnknown, name, delivery)
        case .abandon: break
        }
    }

    /// Takes so many messages, and acknowledges them all at once.
    func consumeTogether(_ count: Int, by name: String, _ store: InMemorySession) async throws {
        var receiver = try receiver(store, prefetch: count)
        var held: [any Delivery] = []
        while held.count < count, let delivery = try await receiver.next(within: .seconds(1)) {
            note(.delivered, name, delivery)
            onStage.enter(delivery, store)
            held.append(delivery)
        }
        await withTaskGroup(of: Void.self) { group in
            for delivery in held {
                group.addTask {
                    await settle(delivery, .acknowledge, name)
                    onStage.leave(delivery)
                }
            }
        }
        await receiver.close()
    }

    /// What a member must not say while its process lives.
    private func object(_ store: InMemorySession, _ what: String) {
        if store.sessionState.phase != .closed { onStage.object(Violation(.drainedInTime, what)) }
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
        // The sessions of processes that live stay as they are, so that what they have left is not tidied up for them.
        for session in sessions.all { session.clearFaults() }
        let living = sessions.all.filter { $0.sessionState.phase != .closed }
        let store = session("drain")
        let start = simulation.clock.now.offset
        let limit = Self.sessionTimeout + Self.recoveryPeriod + Self.work
        while true {
            try await subject.recover(store)
            try await consume(by: "drain", store)
            if finalState.ready.isEmpty && finalState.held.isEmpty { break }
            if simulation.clock.now.offset - start > limit {
                return [Violation(.drainedInTime, "\(finalState.ready + finalState.held) are left after \(limit)")]
            }
            try await simulation.clock.sleep(for: .seconds(1))
        }
        let interests = living.reduce(0) { $0 + $1.watches.interestCount }
        for session in living { session.close() }
        // What takes its time to be counted as garbage: half-made registrations, lanes, sessions of the dead.
        for _ in 0..<3 {
            try await simulation.clock.sleep(for: .seconds(31))
            try await subject.recover(store)
        }
        store.close()
        return interests == 0 ? [] : [Violation(.nothingLeftBehind, "\(interests) interests in watches")]
    }

    /// What members have left in this process.
    private var leftBehind: [Violation] {
        members.alive == 0
            ? [] : [Violation(.nothingLeftBehind, "\(members.alive) members that a task still holds")]
    }

    private var finalState: FinalState {
        var finalState = FinalState()
        let parents: Set = ["items", "partial", "consumers", "dead", "idle", "producers", "earlier", "epoch", "ids"]
        for (path, node) in simulation.zookeeper.nodes where path.hasPrefix("/queue/") {
            let parts = path.split(separator: "/").dropFirst().map(String.init)
            let consumer = simulation.zookeeper.nodes["/queue/consumers/\(parts.dropFirst().first ?? "")"]?.data
            let messages = FinalState.messages(name: parts.last ?? "", data: node.data ?? [], consumer: consumer)
            switch (parts[0], parts.count) {
            case ("items", 2) where node.stat.dataLength > 0, ("earlier", 2): finalState.ready += messages
            case ("partial", 2): finalState.held += messages
            case ("consumers", 4) where parts[2] == "item": finalState.held += messages
            case ("consumers", 3) where parts[2] == "item" && node.stat.dataLength > 0: finalState.held += messages
            case ("dead", 2): finalState.dead += messages
            case ("dead", 3) where parts[2] == "cause": break
            case ("settings", 1): break
            case ("ids", 2...3): break
            case (let name, 1) where parents.contains(name): break
            default: finalState.garbage.append(path)
            }
        }
        return finalState
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

extension FinalState {
    fileprivate static func messages(name: String, data: [UInt8], consumer: [UInt8]?) -> [Message] {
        NodeContents(name: name, data: data, consumer: consumer).messages.map {
            Message(name: $0.name, payload: String(decoding: $0.payload, as: UTF8.self))
        }
    }
}
