import DequeModule
import QueueHistory
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Plays everything outside of a consumer's state machine: its callers, its reader, its committer, and a tree that others
/// change too. It counts what breaks a rule.
struct ConsumerDriver {
    private enum Reading {
        case idle, begins
        case waits(ConsumerStateMachine.Scan, ReadMark)
        case reads([ListedItem], ReadMark)
    }
    private enum Committing {
        case idle
        case toSend(ConsumerCommit)
        /// No answer came; whether it was applied.
        case toResolve(ConsumerCommit, ConsumerCommit.Plan, wasApplied: Bool)
    }

    private(set) var machine: ConsumerStateMachine
    private(set) var violations: [String] = []
    private(set) var handedOutCount = 0

    private let iterators = IteratorCount()
    private var random: SeededGenerator
    private var now = Duration.seconds(1_000)
    private var session = SessionState(phase: .connected, sessionID: 1, timeout: .seconds(10), expirations: 0)

    // The tree.
    private var items: Set<String> = []
    private var leased: Set<String> = []
    private var nextNumber = 0
    private var version: Int32 = 0
    private var registrations = 0

    // The consumer's tasks and callers.
    private var reading = Reading.idle
    private var wantsRescan = false
    private var committing = Committing.idle
    private var requests: [UInt64: ConsumerStateMachine.Request] = [:]
    private var waiting: Set<UInt64> = []
    private var nextRequest: UInt64 = 0
    private var handedOut: [Lease] = []
    private var everHandedOut: Set<ObjectIdentifier> = []
    /// Keeps the leases alive, so that an identity is not used again.
    private var leases: [Lease] = []
    private var settling: [(lease: Lease, waiter: SettlementWaiter)] = []

    init(seed: UInt64, prefetch: Int, onDemand: Bool) throws {
        random = SeededGenerator(seed: seed)
        var configuration = ConsumerConfiguration(prefetch: prefetch)
        configuration.takesOnDemand = onDemand
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        machine = ConsumerStateMachine(queue, configuration, iterators)
        iterators.increment()
    }

    private mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &random) }

    // MARK: Events

    /// One event of any kind.
    mutating func step() {
        now += .milliseconds(roll(40))
        switch roll(40) {
        case 0...3: create()
        case 4: if let stolen = items.sorted().randomElement(using: &random) { items.remove(stolen) }
        case 5...9: request()
        case 10: cancelOne()
        case 11...16: settleOne()
        case 17: changeSession()
        case 18: handle { $0.wake() }
        case 19: now += .seconds(roll(3))
        case 20...29: readOn()
        default: commitOn()
        }
        check()
    }

    /// Lets everything come to its end, without faults.
    mutating func settleDown() {
        session = SessionState(
            phase: .connected, sessionID: session.sessionID, timeout: .seconds(10), expirations: 0)
        handle { [session] in $0.sessionChanged(session) }
        for _ in 0..<5_000 {
            now += .milliseconds(5)
            answerRequests()
            settleOne()
            readOn()
            commitOn(withFaults: false)
            check()
            if items.isEmpty || waiting.isEmpty, handedOut.isEmpty, case .idle = committing {
                if !settling.isEmpty { violations.append("\(settling.count) settlements are never told") }
                return
            }
        }
        violations.append(
            "it does not come to an end: \(items.count) messages, \(waiting.count) callers, reading \(reading), "
                + "committing \(committing), buffer \(machine.buffer.map { "\($0.name.string) \($0.state)" }), free \(machine.free())"
        )
    }

    private mutating func create() {
        items.insert("item-\(100 + roll(3))-" + String("\(10_000_000_000 + nextNumber)".dropFirst()))
        nextNumber += 1
    }

    private mutating func request() {
        guard requests.count < 5 else { return answerRequests() }
        let limit: Duration? = [nil, .zero, .seconds(1)][roll(3)]
        requests[nextRequest] = handle { [now] in $0.requested(within: limit, now: now) }
        nextRequest += 1
        answerRequests()
    }

    /// Each caller that was woken looks again.
    private mutating func answerRequests() {
        for (id, request) in requests.sorted(by: { $0.key < $1.key }) where !waiting.contains(id) {
            switch handle({ [now] in $0.answer(request, now: now) }) {
            case .message(let lease):
                requests[id] = nil
                if !everHandedOut.insert(ObjectIdentifier(lease)).inserted {
                    violations.append("\(lease.name.string) is handed out twice")
                }
                if lease.state != .held { violations.append("\(lease.name.string) is handed out and not held") }
                leases.append(lease)
                handedOut.append(lease)
                handedOutCount += 1
            case .failure(let error): violations.append("\(error)")
            case .nothing:
                requests[id] = nil
                handle { $0.withdrawn() }
            case .wait:
                waiting.insert(id)
                handle { [now] in $0.waits(id, now: now) }
            }
        }
    }

    private mutating func cancelOne() {
        guard let id = requests.keys.sorted().randomElement(using: &random) else { return }
        handle { $0.cancelled(id) }
        waiting.remove(id)
        requests[id] = nil
        handle { $0.withdrawn() }
    }

    private mutating func settleOne() {
        guard !handedOut.isEmpty else { return }
        let lease = handedOut.remove(at: roll(handedOut.count))
        let kind: Settlement.Kind = [.acknowledge([]), .giveBack(reason: nil), .release, .deadLetter(reason: "")][
            roll(4)]
        guard (try? lease.beginSettling(by: kind)) == true else { return }
        let waiter = SettlementWaiter { _ in }
        settling.append((lease, waiter))
        let settlement = Settlement(
            lease: lease, kind: kind, waiter: waiter, since: now, unresolvedBefore: lease.unresolved)
        handle { [now] in $0.settles(settlement, now: now) }
    }

    private mutating func changeSession() {
        switch roll(12) {
        case 0: expire()
        case 1...4:
            session = SessionState(phase: .inDoubt, sessionID: session.sessionID, timeout: .zero, expirations: 0)
        default: session = SessionState(phase: .connected, sessionID: session.sessionID, timeout: .zero, expirations: 0)
        }
        handle { [session] in $0.sessionChanged(session) }
    }

    /// A recovery gives back at once what the session held.
    private mutating func expire() {
        session = SessionState(
            phase: .connected, sessionID: session.sessionID + 1, timeout: .zero, expirations: 0)
        items.formUnion(leased)
        leased = []
        version = 0
    }

    // MARK: The reader

    private mutating func readOn() {
        switch reading {
        case .idle: return
        case .begins: beginRead()
        case .waits(let scan, let mark): scanOn(scan, mark)
        case .reads(let listed, let mark):
            let nodes = listed.map { item in
                items.contains(item.name.string) ? Node(data: Array("x".utf8), stat: Stat(version: 1)) : nil
            }
            handle { [now] in $0.read(listed, nodes, since: mark, now: now) }
            reading = .begins
        }
    }

    private mutating func beginRead() {
        guard machine.wantsToRead else { return endRead() }
        if machine.registration == nil {
            registrations += 1
            version = 0
            let name = "consumer-\(registrations)"
            let registration = Registration(
                paths: machine.queue.tree.consumer(name), sessionID: session.sessionID, name: name)
            handle { $0.registered(registration) }
        }
        if machine.needsEpoch { _ = handle { $0.epochRead(SequenceEpoch(), maximumDeliveries: .some(nil)) } }
        let mark = machine.mark
        if machine.needsList(now: now) {
            wantsRescan = false
            reading = .waits(handle { $0.scanBegins() }, mark)
        } else {
            reading = .reads(handle { $0.nextToRead() }, mark)
        }
    }

    private mutating func scanOn(_ scan: ConsumerStateMachine.Scan, _ mark: ReadMark) {
        if wantsRescan || machine.registration == nil {
            handle { $0.scanEnds(scan) }
            wantsRescan = false
            if machine.registration == nil { return endRead() }
            reading = .waits(handle { $0.scanBegins() }, mark)
            return
        }
        if roll(4) == 0, machine.position == .none { return handle { $0.joined("0-consumer") } }
        if case .waiting(let name) = machine.position { handle { $0.isFirst(name) } }
        handle { [now, items] in
            $0.listingBegins(now: now)
            $0.listed(Array(items))
        }
        switch handle({ [now] in $0.judgeLists(usable: { names, _ in names }, now: now) }) {
        case .wait: violations.append("both lists are there, and it waits for one")
        case .busy:
            _ = handle { $0.leavesLine() }
            let others = roll(2) == 0
            if handle({ $0.othersWait(others) }) { end(scan) }
        case .listed(let listing):
            handle { $0.scanEnds(scan) }
            let isValid = handle { [now] in $0.refill(listing, .init(), since: mark, now: now) }
            reading = isValid ? .reads(handle { $0.nextToRead() }, mark) : .begins
        case .full: end(scan)
        case .mayHaveMoved:
            _ = handle { $0.epochRead(SequenceEpoch(), maximumDeliveries: nil) }
            handle { $0.foundNothing() }
        }
    }

    private mutating func end(_ scan: ConsumerStateMachine.Scan) {
        handle { $0.scanEnds(scan) }
        endRead()
    }

    private mutating func endRead() {
        reading = .idle
        _ = handle { $0.leavesLine() }
        handle { $0.readerEnded(isCancelled: false) }
    }

    // MARK: The committer

    private mutating func commitOn(withFaults: Bool = true) {
        switch committing {
        case .idle: return
        case .toSend(var commit):
            handle { $0.refresh(&commit) }
            if commit.isEmpty { return endCommit() }
            send(commit, fault: withFaults ? roll(12) : 99)
        case .toResolve(var commit, let plan, let wasApplied):
            if machine.registration != commit.registration { return sessionEnded(&commit) }
            if wasApplied {
                apply(commit, plan)
                return endCommit()
            }
            commit.isCertainlyNotApplied()
            committing = .toSend(commit)
        }
    }

    private mutating func send(_ sent: ConsumerCommit, fault: Int) {
        var commit = sent
        let plan = commit.plan(machine.queue, machine.holdings)
        if machine.registration != commit.registration || commit.registration.sessionID != session.sessionID {
            return sessionEnded(&commit)
        }
        if let number = commit.claims.firstIndex(where: { !items.contains($0.name.string) }) {
            let error = refusal(.noNode)
            let outcome = handle { $0.refusedClaim(number, of: &commit, at: 0, error) }
            if outcome != .handled { violations.append("a message that is gone counts as a registration that is gone") }
            return goOn(commit)
        }
        switch fault {
        case 0, 1:
            // No answer.
            let wasApplied = roll(2) == 0
            if wasApplied { change(commit) }
            commit.mayBeApplied()
            let code: ZooKeeperError.Code = fault == 0 ? .connectionLoss : .deadlineExceeded
            let error = ZooKeeperError(code: code, message: "", path: nil, outcome: .unknown)
            handle { [now] in $0.unanswered(&commit, error, since: now) }
            committing = .toResolve(commit, plan, wasApplied: wasApplied)
        case 2:
            // Not sent.
            let error = ZooKeeperError(code: .connectionLoss, message: "", path: nil, outcome: .notApplied)
            handle { [now] in $0.unanswered(&commit, error, since: now) }
            goOn(commit)
        case 3 where !commit.claims.isEmpty:
            handle { $0.skipClaim(0, of: &commit, .unknownContent) }
            goOn(commit)
        default:
            change(commit)
            apply(commit, plan)
            endCommit()
        }
    }

    private func refusal(_ code: ZooKeeperError.Code) -> ZooKeeperError {
        ZooKeeperError(code: code, message: "", path: nil, outcome: .notApplied)
    }

    /// What the transaction does to the tree.
    private mutating func change(_ commit: ConsumerCommit) {
        version += 1
        for settlement in commit.settlements {
            let lease = settlement.lease
            if leased.remove(lease.node) == nil { violations.append("\(lease.node) is settled twice") }
            switch settlement.kind {
            case .release: items.insert(lease.node)
            case .giveBack where lease.name.returns < 8:
                items.insert(lease.name.with(returns: lease.name.returns + 1).string)
            default: break
            }
        }
        for item in commit.claims {
            items.remove(item.name.string)
            if !leased.insert(item.name.string).inserted { violations.append("\(item.name.string) is claimed twice") }
        }
    }

    private mutating func apply(_ commit: ConsumerCommit, _ plan: ConsumerCommit.Plan) {
        handle { [now, session] in
            $0.answered(after: .milliseconds(1))
            $0.applied(commit, plan, token: 1, session: session, now: now)
        }
    }

    private mutating func sessionEnded(_ commit: inout ConsumerCommit) {
        let registration = commit.registration
        handle { $0.lose(registration) }
        for settlement in commit.settlements {
            settlement.lease.update(.lost)
            handle { $0.leaseWasLost(settlement) }
        }
        commit.settlements = []
        handle { $0.dropClaims(&commit) }
        endCommit()
    }

    private mutating func goOn(_ commit: ConsumerCommit) {
        if commit.isEmpty { endCommit() } else { committing = .toSend(commit) }
    }

    private mutating func endCommit() {
        handle { $0.transactionEnded() }
        let next = handle { [now] in $0.nextCommit(now: now) }
        committing = next.map { .toSend($0) } ?? .idle
    }

    // MARK: Actions

    @discardableResult
    private mutating func handle<Result>(_ event: (inout ConsumerStateMachine) -> Result) -> Result {
        let result = event(&machine)
        for action in machine.takeActions() { run(action) }
        return result
    }

    private mutating func run(_ action: ConsumerStateMachine.Action) {
        switch action {
        case .read:
            if case .idle = reading { reading = .begins } else { violations.append("a second reader") }
        case .commit(let first):
            if case .idle = committing { committing = .toSend(first) } else { violations.append("a second committer") }
        case .rescan: wantsRescan = true
        case .wake: waiting = []
        case .resume(let waiter, let result):
            guard let index = settling.firstIndex(where: { $0.waiter === waiter }) else {
                return violations.append("a settlement is told twice")
            }
            let lease = settling.remove(at: index).lease
            // The caller tries again.
            if case .failure = result, lease.state == .held || lease.state == .inDoubt { handedOut.append(lease) }
            waiter.resume(with: result)
        case .update(let lease, let state): lease.update(state)
        case .settlingFailed(let lease): lease.settlingFailed()
        case .oversee, .becameEmpty, .stopWatchingSession, .skip, .handled, .log: break
        }
    }

    // MARK: Rules

    private mutating func check() {
        if machine.isReading != { if case .idle = reading { false } else { true } }() {
            violations.append("it does not know whether it reads")
        }
        if machine.isCommitting != { if case .idle = committing { false } else { true } }() {
            violations.append("it does not know whether it commits")
        }
        for lease in machine.buffer where machine.leases[lease.name.string] !== lease {
            violations.append("\(lease.name.string) waits in the buffer without a lease")
        }
        let prepared = machine.prepared.map(\.name.string)
        if Set(prepared).count != prepared.count { violations.append("a message is read twice") }
        if machine.demand != requests.count { violations.append("\(machine.demand) in demand of \(requests.count)") }
        if machine.waiters != waiting { violations.append("it does not know who waits") }
        // Known only when no transaction is under way.
        if case .idle = committing, machine.registration?.sessionID == session.sessionID {
            if Set(machine.leases.keys) != leased {
                violations.append("it holds \(machine.leases.keys.sorted()), and the tree has \(leased.sorted())")
            }
            if machine.holdings.version != version { violations.append("it takes its node for another version") }
        }
        // A caller that waits is waited for.
        if !waiting.isEmpty, case .idle = reading, case .idle = committing, machine.buffer.first?.state != .inDoubt,
            machine.free() > 0
        {
            violations.append("a caller waits, and nothing is under way")
        }
    }
}
