import QueueHistory
import Simulation
import Synchronization
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// One run: a simulated ZooKeeper with a queue, the history of the queue's processes, and the check at the end.
struct FaultHarness: Sendable {
    let queue: any QueueUnderTest
    let simulation: Simulation
    let history = History()
    private let sessions = Sessions()
    private let leakTracker = LeakTracker()
    private let leaseTracker = LeaseTracker()
    /// The maximum number of deliveries of a message.
    var maximumDeliveries = 10
    private let monitor: InvariantMonitor

    var clock: VirtualClock { simulation.clock }

    static let sessionTimeout = Duration.seconds(10)
    /// The pause between the passes of a recovery.
    static let recoveryPeriod = Duration.seconds(5)
    /// The time of the remaining work, with the time after which a recovery removes another recovery's lock.
    private static let work = Duration.seconds(12)

    init(_ queue: any QueueUnderTest, _ order: Simulation.Order = .fixed) {
        self.queue = queue
        monitor = InvariantMonitor(requeueDelay: queue.requeueDelay, leaseTimeout: queue.leaseTimeout)
        simulation = Simulation(order) { [monitor] in monitor.observe($0) }
    }

    /// Runs the program, ends all faults, drains the queue, and checks every promise.
    ///
    /// - Returns: the promises that were broken.
    func run(isOrdered: Bool = false, _ body: @escaping @Sendable (FaultHarness) async throws -> Void) -> CheckResult {
        do {
            let undrained = try simulation.run {
                try await body(self)
                return try await drain()
            }
            let checker = Checker(
                history.events, finalState: finalState, maximumDeliveries: maximumDeliveries, group: queue.group(of:))
            return CheckResult(
                byHistory: checker.violations(isOrdered: isOrdered) + leaseTracker.violations + undrained
                    + earlyViolations + copyViolations,
                byMonitor: monitor.violations + countViolations + leakViolations)
        } catch is Simulation.Stuck {
            let stuck = Violation(.drainedInTime, "a task waits forever, or loops")
            return CheckResult(byHistory: leaseTracker.violations + [stuck], byMonitor: monitor.violations)
        } catch {
            return CheckResult(byHistory: [Violation(.drainedInTime, "\(error)")], byMonitor: monitor.violations)
        }
    }

    /// Returns the session of a new process, which ends with the program.
    func session(_ name: String, faults: FaultPlan? = nil) -> InMemorySession {
        let session = simulation.zookeeper.connect(
            name, sessionTimeout: Self.sessionTimeout, requestTimeout: .seconds(30), faults: faults)
        sessions.add(session)
        return session
    }

    // MARK: Processes

    /// Sends the messages one after the other, or with `together` in one call.
    func produce(_ payloads: [String], by name: String, _ store: InMemorySession, together: Bool = false) async throws {
        let sender = try queue.sender(store)
        leakTracker.add(sender.trackedObject)
        for batch in together ? [payloads] : payloads.map({ [$0] }) {
            for payload in batch { record(.sending, name, payload) }
            let result = await sender.send(batch)
            for payload in batch {
                record(result, name, payload, store)
            }
        }
        await sender.close()
    }

    /// Sends each message in a separate task, which puts several batches in flight.
    func produceInFlight(_ payloads: [String], by name: String, _ store: InMemorySession) async throws {
        let sender = try queue.sender(store)
        leakTracker.add(sender.trackedObject)
        await withTaskGroup(of: Void.self) { group in
            for payload in payloads {
                record(.sending, name, payload)
                group.addTask {
                    record(await sender.send([payload]), name, payload, store)
                }
            }
        }
        await sender.close()
    }

    private func record(_ result: SendResult, _ name: String, _ payload: String, _ store: InMemorySession) {
        switch result {
        case .stored: record(.sent, name, payload)
        case .unknown: record(.sendUnknown, name, payload)
        case .refused(let reason):
            record(.sendRefused, name, payload)
            reportIfAlive(store, "a send was refused: \(reason)")
        }
    }

    enum Action: Sendable { case acknowledge, requeue, deadLetter, hold(Duration), abandon }

    /// Consumes messages until none arrives within the time `idle`.
    func consume(
        by name: String, _ store: InMemorySession, prefetch: Int = 2, idle: Duration = .zero,
        _ decide: @Sendable (any Delivery) -> Action = { _ in .acknowledge }
    ) async throws {
        var receiver = try receiver(store, prefetch: prefetch)
        var held: [any Delivery] = []
        while true {
            do {
                guard let delivery = try await receiver.next(within: idle) else { break }
                record(.delivered, name, delivery)
                checkExpiry(delivery)
                leaseTracker.begin(delivery, store)
                let action = decide(delivery)
                if case .abandon = action { held.append(delivery) }
                await settle(delivery, action, name)
                leaseTracker.end(delivery)
            } catch {
                reportIfAlive(store, "a consumer's sequence threw an error: \(error)")
                break
            }
        }
        // A consumer that a live process closes requeues the messages that it holds, and these deliveries do not count.
        if store.sessionState.phase != .closed { for delivery in held { record(.interrupted, name, delivery) } }
        await receiver.close()
    }

    private func checkExpiry(_ delivery: any Delivery) {
        let now = simulation.zookeeper.milliseconds
        guard let time = delivery.expiresAt, time <= now else { return }
        leaseTracker.report(
            Violation(.neverExpired, "\(delivery.payload) was handed out \(now - time) ms after it had expired"))
    }

    /// Returns a consumer, which no task may hold at the end.
    func receiver(_ store: InMemorySession, prefetch: Int) throws -> any Receiver {
        let receiver = try queue.receiver(store, prefetch: prefetch)
        leakTracker.add(receiver.trackedObject)
        return receiver
    }

    private func settle(_ delivery: any Delivery, _ action: Action, _ name: String) async {
        switch action {
        case .hold(let time):
            try? await simulation.clock.sleep(for: time)
            await settle(delivery, .acknowledge, name)
        case .acknowledge:
            record(.acknowledging, name, delivery)
            switch await delivery.acknowledge() {
            case .done: record(.acknowledged, name, delivery)
            case .lost: record(.leaseLost, name, delivery)
            case .unknown: record(.acknowledgeUnknown, name, delivery)
            case .unexpected(let error): leaseTracker.report(Violation(.noneLost, "an acknowledgement threw \(error)"))
            }
        case .requeue:
            leaseTracker.end(delivery)
            record(await delivery.requeue().isDone ? .requeued : .requeueUnknown, name, delivery)
        case .deadLetter:
            leaseTracker.end(delivery)
            record(await delivery.deadLetter().isDone ? .deadLettered : .deadLetterUnknown, name, delivery)
        case .abandon: break
        }
    }

    /// Consumes `count` messages, and acknowledges them all at the same time.
    func consumeTogether(_ count: Int, by name: String, _ store: InMemorySession) async throws {
        var receiver = try receiver(store, prefetch: count)
        var held: [any Delivery] = []
        while held.count < count, let delivery = try await receiver.next(within: .seconds(1)) {
            record(.delivered, name, delivery)
            leaseTracker.begin(delivery, store)
            held.append(delivery)
        }
        await withTaskGroup(of: Void.self) { group in
            for delivery in held {
                group.addTask {
                    await settle(delivery, .acknowledge, name)
                    leaseTracker.end(delivery)
                }
            }
        }
        await receiver.close()
    }

    /// Reports an error that must not happen while the process is alive.
    private func reportIfAlive(_ store: InMemorySession, _ detail: String) {
        if store.sessionState.phase != .closed { leaseTracker.report(Violation(.drainedInTime, detail)) }
    }

    /// Consumes messages, and kills the process while it holds them.
    func crash(by name: String, _ store: InMemorySession, holding count: Int) async throws {
        var receiver = try receiver(store, prefetch: count)
        var held: [any Delivery] = []
        while held.count < count, let delivery = try? await receiver.next(within: .seconds(1)) {
            record(.delivered, name, delivery)
            held.append(delivery)
        }
        store.crash()
        try await simulation.clock.sleep(for: Self.sessionTimeout + .seconds(1))
    }

    /// Runs recovery passes for the given time.
    func recover(
        _ store: InMemorySession, for time: Duration, every period: Duration = Self.recoveryPeriod
    ) async throws {
        let end = simulation.clock.now.offset + time
        while simulation.clock.now.offset < end {
            try? await queue.recover(store)
            try await simulation.clock.sleep(for: period)
        }
    }

    /// Keeps recoveries running for the given time.
    func keepRecovering(_ stores: [InMemorySession], for time: Duration) async throws {
        await withTaskGroup(of: Void.self) { group in
            for store in stores { group.addTask { try? await queue.keepRecovering(store) } }
            try? await simulation.clock.sleep(for: time)
            group.cancelAll()
        }
    }

    private func record(_ kind: HistoryEvent.Kind, _ process: String, _ payload: String) {
        history.add(HistoryEvent(kind, by: process, payload, time: milliseconds))
    }

    private func record(_ kind: HistoryEvent.Kind, _ process: String, _ delivery: any Delivery) {
        history.add(
            HistoryEvent(
                kind, by: process, delivery.payload, token: delivery.token, deliveryCount: delivery.deliveryCount,
                name: delivery.name, time: milliseconds))
    }

    private var milliseconds: Int64 { Int64(simulation.clock.now.offset / .milliseconds(1)) }

    // MARK: The end of a run

    /// Drains the queue with a consumer and a recovery that suffer no faults.
    private func drain() async throws -> [Violation] {
        // The sessions of live processes stay open, because closing them would remove nodes that they failed to remove.
        for session in sessions.all { session.clearFaults() }
        let live = sessions.all.filter { $0.sessionState.phase != .closed }
        let store = session("drain")
        let start = simulation.clock.now.offset
        let limit = Self.sessionTimeout + Self.recoveryPeriod + Self.work + queue.delay + queue.requeueDelay
        while true {
            try await queue.recover(store)
            try await consume(by: "drain", store)
            if finalState.ready.isEmpty && finalState.held.isEmpty { break }
            if simulation.clock.now.offset - start > limit {
                return [Violation(.drainedInTime, "\(finalState.ready + finalState.held) remain after \(limit)")]
            }
            try await simulation.clock.sleep(for: .seconds(1))
        }
        let watches = live.reduce(0) { $0 + $1.watches.interestCount }
        for session in live { session.close() }
        // A recovery removes incomplete registrations, producers' nodes and the nodes of dead processes only after some
        // time.
        for _ in 0..<3 {
            try await simulation.clock.sleep(for: .seconds(31))
            try await queue.recover(store)
        }
        store.close()
        return watches == 0 ? [] : [Violation(.nothingLeftBehind, "\(watches) watches are still in use")]
    }

    /// Producers and consumers that a task still holds.
    private var leakViolations: [Violation] {
        leakTracker.aliveCount == 0
            ? []
            : [Violation(.nothingLeftBehind, "a task still holds \(leakTracker.aliveCount) producers or consumers")]
    }

    var finalState: FinalState {
        var finalState = FinalState()
        let parents: Set = [
            "items", "partial", "consumers", "dead", "idle", "producers", "earlier", "epoch", "ids", "delayed",
            "groups",
        ]
        for (path, node) in simulation.zookeeper.nodes where path.hasPrefix("/queue/") {
            let parts = path.split(separator: "/").dropFirst().map(String.init)
            let consumer = simulation.zookeeper.nodes["/queue/consumers/\(parts.dropFirst().first ?? "")"]?.data
            let messages = FinalState.messages(name: parts.last ?? "", data: node.data ?? [], consumer: consumer)
            switch (parts[0], parts.count) {
            case ("items", 2) where node.stat.dataLength > 0, ("earlier", 2): finalState.ready += messages
            case ("partial", 2), ("delayed", 4), ("groups", 3): finalState.held += messages
            // A slot is removed some time after its end.
            case ("delayed", 2...3): break
            case ("consumers", 4) where parts[2] == "item": finalState.held += messages
            case ("consumers", 3) where parts[2] == "item" && node.stat.dataLength > 0: finalState.held += messages
            case ("dead", 2): finalState.dead += messages
            case ("dead", 3) where parts[2] == "cause": break
            case ("settings", 1): break
            case ("ids", 2...3): break
            case (let name, 1) where parents.contains(name): break
            default: finalState.unneededNodes.append(path)
            }
        }
        return finalState
    }

    /// First deliveries that came before the delay of the message had passed.
    private var earlyViolations: [Violation] {
        var sendings: [String: Int64] = [:]
        var violations: [Violation] = []
        for event in history.events {
            switch event.kind {
            case .sending: sendings[event.message] = sendings[event.message] ?? event.time
            case .delivered:
                guard let sent = sendings[event.message] else { continue }
                let waited = Duration.milliseconds(event.time - sent)
                // The history has whole milliseconds.
                guard waited < queue.delay - .milliseconds(1) else { continue }
                violations.append(Violation(.neverEarly, "\(event.message) was delivered after \(waited)"))
            default: break
            }
        }
        return violations
    }

    /// Deliveries whose count exceeds the number of the message's claims.
    private var countViolations: [Violation] {
        history.events.filter { $0.kind == .delivered && $0.deliveryCount > monitor.claims(of: $0.message) }.map {
            Violation(
                .deliveriesCounted,
                "\($0.message) has the delivery count \($0.deliveryCount), and was claimed \(monitor.claims(of: $0.message)) times"
            )
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
