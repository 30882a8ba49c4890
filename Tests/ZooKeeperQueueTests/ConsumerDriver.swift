import DequeModule
import QueueHistory
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Simulates everything outside a consumer's state machine: the callers, the reader, the committer, and a tree that
/// other clients change too. Records every broken rule.
struct ConsumerDriver {
    private enum Reading {
        case idle, begins
        case waits(ListRevision)
        case reads([ReadyList.Entry], ListRevision)
    }
    private enum Committing {
        case idle
        case toSend(ConsumerTransaction)
        /// The reply was lost.
        case toResolve(ConsumerTransaction, ConsumerTransaction.Plan, wasApplied: Bool)
    }

    private(set) var machine: ConsumerStateMachine
    private(set) var violations: [String] = []
    private(set) var handedOutCount = 0
    /// The changes of the machine's states, as `position: waiting → first`.
    private(set) var transitions: Set<String> = []
    /// The events, and the states before each, of a run that is repeated to find the cause of a failure.
    var trace: [String]?

    private let iterators = IteratorCount()
    private var random: SeededGenerator
    private let mayBeBarred: Bool
    private var now = Duration.seconds(1_000)
    private var session = SessionState(phase: .connected, sessionID: 1, timeout: .seconds(10), expirations: 0)

    // The tree.
    private var items: Set<String> = [] { didSet { itemsVersion += 1 } }
    private var itemsVersion = 0
    private var leased: Set<String> = []
    private var attributes = QueueAttributes()
    /// The leases that a recovery took away while the session lived.
    private var taken: Set<String> = []
    /// When the consumer's node has changed last.
    private var changedAt = Duration.zero
    /// How each lease was settled in the tree.
    private var ends: [ObjectIdentifier: Settlement.Kind] = [:]
    private var nextNumber = 0
    private var version: Int32 = 0
    private var registrations = 0

    // The consumer's tasks and callers.
    private var reading = Reading.idle
    private var wantsRescan = false
    /// The version of the items that the scan has listed last.
    private var lastListed: Int?
    /// Whether a scan has begun within the actions of the current event.
    private var beganScan = false
    private var depth = 0
    private var committing = Committing.idle
    private var requests: [UInt64: ConsumerStateMachine.MessageRequest] = [:]
    private var waiting: Set<UInt64> = []
    private var nextRequest: UInt64 = 0
    private var handedOut: [Lease] = []
    private var everHandedOut: Set<ObjectIdentifier> = []
    /// Keeps the leases alive, because another object could otherwise get the identity of one.
    private var leases: [Lease] = []
    private var settling: [(lease: Lease, kind: Settlement.Kind, waiter: SettlementWaiter)] = []
    /// Leases that were never handed out, and are being released.
    private var releasing: Set<ObjectIdentifier> = []

    init(seed: UInt64, prefetch: Int, onDemand: Bool) throws {
        random = SeededGenerator(seed: seed)
        mayBeBarred = seed.isMultiple(of: 5)
        var configuration = QueueConsumer.Configuration(prefetch: prefetch)
        configuration.pullsOnDemand = onDemand
        if seed % 3 == 1 { configuration.transactionsOfARegistration = 20 }
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        machine = ConsumerStateMachine(queue, configuration, iterators)
        iterators.increment()
    }

    private mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &random) }

    // MARK: Events

    /// Plays one random event.
    mutating func step() {
        now += .milliseconds(roll(40))
        switch roll(46) {
        case 0...3: create()
        case 4: if let stolen = items.sorted().randomElement(using: &random) { items.remove(stolen) }
        case 5...9: request()
        case 10: cancelOne()
        case 11...16: settleOne()
        case 17: changeSession()
        case 18: handle { $0.wake() }
        case 19: now += .seconds(roll(3))
        case 40: shareBuffer()
        case 41: isSilent()
        case 43: pauseOrResume()
        case 42: handle { [now] in $0.renewalIsDue(now: now) }
        case 20...29: advanceReader()
        default: advanceCommitter()
        }
        check()
    }

    /// Lets all work complete, without faults.
    mutating func settleDown() {
        if !attributes.paused.isEmpty { pauseOrResume() }
        session = SessionState(
            phase: .connected, sessionID: session.sessionID, timeout: .seconds(10), expirations: 0)
        handle { [session] in $0.sessionChanged(session) }
        for _ in 0..<20_000 {
            now += .milliseconds(5)
            handle { [now] in $0.renewalIsDue(now: now) }
            if requests.isEmpty, !items.isEmpty || !machine.buffer.isEmpty { request() }
            serveRequests()
            settleOne()
            advanceReader()
            advanceCommitter(withFaults: false)
            check()
            if items.isEmpty, machine.buffer.isEmpty, handedOut.isEmpty, case .idle = committing {
                if !settling.isEmpty { violations.append("\(settling.count) settlements never completed") }
                return
            }
        }
        violations.append(
            "work is left: \(items.count) messages, \(waiting.count) callers, reading \(reading), "
                + "committing \(committing), buffer \(machine.buffer.map { "\($0.name.string) \($0.state)" }), free \(machine.free())"
        )
    }

    /// Closes the consumer as the actor does.
    mutating func close() {
        handle { $0.beginClosing() }
        if machine.registrationToLeave != nil { handle { $0.leaves() } }
        for lease in handle({ $0.endClosing() }) where lease.state != .lost {
            violations.append("\(lease.name.string) is \(lease.state) after the consumer has closed")
        }
    }

    private mutating func create() {
        items.insert("item-\(100 + roll(3))-" + String("\(10_000_000_000 + nextNumber)".dropFirst()))
        nextNumber += 1
    }

    private mutating func request() {
        guard requests.count < 5 else { return serveRequests() }
        let limit: Duration? = [nil, .zero, .seconds(1)][roll(3)]
        requests[nextRequest] = handle { [now] in $0.requested(within: limit, now: now) }
        nextRequest += 1
        serveRequests()
    }

    /// Serves each caller that was woken.
    private mutating func serveRequests() {
        for (id, request) in requests.sorted(by: { $0.key < $1.key }) where !waiting.contains(id) {
            switch handle({ [now] in $0.answer(request, now: now) }) {
            case .message(let lease):
                requests[id] = nil
                if !everHandedOut.insert(ObjectIdentifier(lease)).inserted {
                    violations.append("\(lease.name.string) was handed out twice")
                }
                if taken.contains(lease.node) {
                    violations.append("\(lease.name.string) was handed out after it was taken away")
                }
                if machine.isPaused { violations.append("\(lease.name.string) was handed out during a pause") }
                if lease.state != .held {
                    violations.append("\(lease.name.string) was handed out in the state \(lease.state)")
                }
                leases.append(lease)
                handedOut.append(lease)
                handedOutCount += 1
            case .failure(let error): violations.append("a request failed: \(error)")
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
        settle(lease, by: [.acknowledge(), .requeue(reason: nil), .release, .deadLetter(reason: "")][roll(4)])
    }

    private mutating func settle(_ lease: Lease, by kind: Settlement.Kind) {
        let attempt: Int
        do {
            guard let number = try lease.beginSettling(by: kind) else { return }
            attempt = number
        } catch {
            let isHeld = lease.state == .held || lease.state == .suspended
            if isHeld { violations.append("\(lease.name.string) is held, but cannot be settled: \(error)") }
            return
        }
        let waiter = SettlementWaiter { _ in }
        settling.append((lease, kind, waiter))
        let settlement = Settlement(lease: lease, kind: kind, attempt: attempt, waiter: waiter, since: now)
        handle { [now] in $0.settles(settlement, now: now) }
    }

    /// Returns the buffered messages to idle consumers.
    private mutating func shareBuffer() {
        guard machine.hasOldMessages(now: now), handle({ $0.otherConsumersAreIdle() }) else { return }
        let buffered = handle { $0.takeBuffer() }
        leases += buffered
        handle { $0.batchingBegins() }
        for lease in buffered {
            releasing.insert(ObjectIdentifier(lease))
            settle(lease, by: .release)
        }
        handle { [now] in $0.batchingEnds(now: now) }
    }

    /// Handles a change of the attributes, as the watch on the epoch does.
    private mutating func pauseOrResume() {
        attributes.paused = attributes.paused.isEmpty ? [.consume] : []
        guard machine.registration != nil else { return }
        handle { [now, attributes] in
            _ = $0.epochRead(SequenceEpoch(), attributes: attributes, read: $0.epochReadBegins(), now: now)
        }
    }

    private mutating func changeSession() {
        switch roll(12) {
        case 0: expire()
        case 1...4:
            session = SessionState(phase: .suspended, sessionID: session.sessionID, timeout: .zero, expirations: 0)
        default: session = SessionState(phase: .connected, sessionID: session.sessionID, timeout: .zero, expirations: 0)
        }
        handle { [session] in $0.sessionChanged(session) }
    }

    /// Ends the session, and requeues at once what it held, as a recovery does.
    private mutating func expire() {
        session = SessionState(
            phase: .connected, sessionID: session.sessionID + 1, timeout: .zero, expirations: 0)
        items.formUnion(leased)
        leased = []
        version = 0
    }

    /// Lets time pass during which the consumer does nothing. A recovery may take leases after the lease timeout.
    private mutating func isSilent() {
        now += .seconds(20 + roll(60))
        guard now - changedAt >= .seconds(60) else { return }
        for name in leased.sorted() where roll(3) == 0 {
            leased.remove(name)
            taken.insert(name)
            if let item = ItemName(name), item.redeliveries < 8 {
                items.insert(item.with(redeliveries: item.redeliveries + 1).string)
            }
        }
    }

    // MARK: The reader

    private mutating func advanceReader() {
        switch reading {
        case .idle: return
        case .begins: beginRead()
        case .waits(let mark): advanceScan(mark)
        case .reads(let entries, let mark):
            let nodes = entries.map { entry in
                items.contains(entry.name.string) ? Node(data: Array("x".utf8), stat: Stat(version: 1)) : nil
            }
            handle { [now] in $0.read(entries, nodes, since: mark, now: now) }
            reading = .begins
        }
    }

    private mutating func beginRead() {
        guard machine.wantsToRead else { return endRead() }
        if handle({ $0.registrationToRenew() }) != nil {
            handle { $0.leaves() }
            if !leased.isEmpty { violations.append("the consumer registers again while it holds \(leased)") }
        }
        if machine.registration == nil {
            registrations += 1
            version = 0
            let name = "consumer-\(registrations)"
            handle { $0.registrationPending(name) }
            if roll(20) == 0 {
                // A recovery has removed the pending registration.
                handle { $0.registrationPending(nil) }
                return
            }
            let registration = Registration(
                paths: machine.queue.tree.consumer(name), sessionID: session.sessionID, name: name)
            handle { $0.registered(registration) }
            // The first value of the watch on the epoch.
            handle { [now, attributes] in
                _ = $0.epochRead(SequenceEpoch(), attributes: attributes, read: $0.epochReadBegins(), now: now)
            }
        }
        if machine.needsEpoch {
            _ = handle { [now, attributes] in
                $0.epochRead(SequenceEpoch(), attributes: attributes, read: $0.epochReadBegins(), now: now)
            }
        }
        let mark = machine.listRevision
        if machine.needsList(now: now) {
            beginScan(mark)
        } else {
            reading = .reads(handle { $0.nextToRead() }, mark)
        }
    }

    private mutating func beginScan(_ mark: ListRevision) {
        (wantsRescan, lastListed, beganScan) = (false, nil, true)
        _ = handle { $0.scanBegins() }
        reading = .waits(mark)
    }

    private mutating func advanceScan(_ mark: ListRevision) {
        if wantsRescan || machine.registration == nil {
            handle { $0.scanEnds() }
            if machine.registration == nil { return endRead() }
            return beginScan(mark)
        }
        switch (machine.position, roll(8)) {
        case (.outside, 0), (.outside, 1): handle { $0.joined("0-consumer") }
        case (.outside, 2): if mayBeBarred { handle { $0.barred() } }
        case (.waiting(let name), 1): handle { $0.positionIsGone(name) }
        case (.waiting(let name), _): handle { $0.becameFirst(name) }
        default: break
        }
        // A watch reports changes only.
        if lastListed == itemsVersion { return }
        lastListed = itemsVersion
        handle { [now, items] in
            $0.listingBegins(now: now)
            $0.listed(Array(items))
        }
        switch handle({ [now] in $0.evaluateScan(usable: { names, _ in names }, now: now) }) {
        case .wait: violations.append("the scan waits although both folders were listed")
        case .busy:
            _ = handle { $0.leaveWaitQueue() }
            lastListed = nil
            let anotherWaits = roll(2) == 0
            if handle({ $0.otherConsumersWait(anotherWaits) }) { endScan() }
        case .found(let found):
            handle { $0.scanEnds() }
            let isValid = handle { [now] in $0.refill(found, .init(), since: mark, now: now) }
            reading = isValid ? .reads(handle { $0.nextToRead() }, mark) : .begins
        case .full: endScan()
        case .mayHaveMoved:
            _ = handle { [now] in
                $0.epochRead(SequenceEpoch(), attributes: nil, read: $0.epochReadBegins(), now: now)
            }
            handle { $0.foundNothing() }
        }
    }

    private mutating func endScan() {
        handle { $0.scanEnds() }
        endRead()
    }

    private mutating func endRead() {
        reading = .idle
        _ = handle { $0.leaveWaitQueue() }
        handle { $0.readerEnded(isCancelled: false) }
    }

    // MARK: The committer

    private mutating func advanceCommitter(withFaults: Bool = true) {
        switch committing {
        case .idle: return
        case .toSend(var transaction):
            handle { $0.refresh(&transaction) }
            if transaction.isEmpty { return endCommit() }
            send(transaction, fault: withFaults ? roll(12) : 99)
        case .toResolve(var transaction, let plan, let wasApplied):
            if machine.registration != transaction.registration { return sessionEnded(&transaction) }
            if wasApplied {
                applied(transaction, plan)
                return endCommit()
            }
            transaction.isCertainlyNotApplied()
            committing = .toSend(transaction)
        }
    }

    private mutating func send(_ sent: ConsumerTransaction, fault: Int) {
        var transaction = sent
        let plan = transaction.plan(machine.queue, machine.heldLeases)
        if machine.registration != transaction.registration || transaction.registration.sessionID != session.sessionID {
            return sessionEnded(&transaction)
        }
        if let number = transaction.claims.firstIndex(where: { !items.contains($0.name.string) }) {
            let error = refusal(.noNode)
            let outcome = handle { $0.refusedClaim(number, of: &transaction, at: 0, error) }
            if outcome != .handled { violations.append("a missing message was handled as a lost registration") }
            return continueCommit(transaction)
        }
        if let number = transaction.settlements.firstIndex(where: { taken.contains($0.lease.node) }) {
            transaction.isCertainlyNotApplied()
            let error = refusal(.noNode)
            handle { $0.refusedLease([number], of: &transaction, error) }
            return continueCommit(transaction)
        }
        switch fault {
        case 0, 1:
            // The reply is lost.
            let wasApplied = roll(2) == 0
            if wasApplied { change(transaction) }
            transaction.mayBeApplied()
            let code: ZooKeeperError.Code = fault == 0 ? .connectionLoss : .deadlineExceeded
            let error = ZooKeeperError(code: code, message: "", path: nil, outcome: .unknown)
            handle { [now] in $0.unanswered(&transaction, error, since: now) }
            committing = .toResolve(transaction, plan, wasApplied: wasApplied)
        case 2:
            // The transaction is not sent.
            let error = ZooKeeperError(code: .connectionLoss, message: "", path: nil, outcome: .notApplied)
            handle { [now] in $0.unanswered(&transaction, error, since: now) }
            continueCommit(transaction)
        case 4:
            // The session ends before the reply is handled, and a recovery requeues what it held.
            change(transaction)
            expire()
            handle { [session] in $0.sessionChanged(session) }
            apply(transaction, plan)
            endCommit()
        case 3 where !transaction.claims.isEmpty:
            handle { $0.skipClaim(0, of: &transaction, .unknownContent) }
            continueCommit(transaction)
        default:
            change(transaction)
            apply(transaction, plan)
            endCommit()
        }
    }

    private func refusal(_ code: ZooKeeperError.Code) -> ZooKeeperError {
        ZooKeeperError(code: code, message: "", path: nil, outcome: .notApplied)
    }

    /// Applies a transaction to the tree.
    private mutating func change(_ transaction: ConsumerTransaction) {
        version += 1
        changedAt = now
        for settlement in transaction.settlements {
            let lease = settlement.lease
            if leased.remove(lease.node) == nil { violations.append("\(lease.node) was settled twice") }
            ends[ObjectIdentifier(lease)] = settlement.kind
            switch settlement.kind {
            case .release: items.insert(lease.node)
            case .requeue where lease.name.redeliveries < 8:
                items.insert(lease.name.with(redeliveries: lease.name.redeliveries + 1).string)
            default: break
            }
        }
        for item in transaction.claims {
            items.remove(item.name.string)
            if !leased.insert(item.name.string).inserted { violations.append("\(item.name.string) was claimed twice") }
        }
    }

    private mutating func apply(_ transaction: ConsumerTransaction, _ plan: ConsumerTransaction.Plan) {
        handle { [now] in $0.answered(1_700_000_000_000, sentAt: now - .milliseconds(1), now: now) }
        applied(transaction, plan)
    }

    private mutating func applied(_ transaction: ConsumerTransaction, _ plan: ConsumerTransaction.Plan) {
        handle { [now, session] in $0.applied(transaction, plan, token: 1, session: session, now: now) }
        if transaction.renews || machine.mustListLeases(now: now) {
            handle { [leased, session, now] in
                $0.leasesListed(leased, of: transaction.registration, session: session, now: now)
            }
        }
    }

    private mutating func sessionEnded(_ transaction: inout ConsumerTransaction) {
        let registration = transaction.registration
        handle { $0.lose(registration) }
        for settlement in transaction.settlements {
            handle { $0.leaseWasLost(settlement) }
        }
        handle { $0.drop(&transaction) }
        endCommit()
    }

    private mutating func continueCommit(_ transaction: ConsumerTransaction) {
        if transaction.isEmpty { endCommit() } else { committing = .toSend(transaction) }
    }

    private mutating func endCommit() {
        handle { $0.transactionEnded() }
        let next = handle { [now] in $0.nextCommit(now: now) }
        committing = next.map { .toSend($0) } ?? .idle
    }

    // MARK: Actions

    @discardableResult
    private mutating func handle<Result>(
        by caller: StaticString = #function, _ event: (inout ConsumerStateMachine) -> Result
    ) -> Result {
        trace?.append("\(now) \(caller): \(machine.states)")
        let (before, held, wasOverseen) = (machine.states, machine.leases.count, machine.needsOversight)
        let result = event(&machine)
        let actions = machine.takeActions()
        expect(actions, .becameEmpty, if: held > 0 && machine.leases.isEmpty)
        expect(actions, .oversee, if: !wasOverseen && machine.needsOversight)
        expect(
            actions, .stopWatching,
            if: before["membership"] == "registered" && machine.registration == nil)
        for (name, state) in machine.states where before[name] != state {
            transitions.insert("\(name): \(before[name] ?? "") → \(state)")
        }
        depth += 1
        for action in actions { run(action) }
        depth -= 1
        if depth == 0 { beganScan = false }
        return result
    }

    /// Expects an action that the actor needs to learn of a change.
    private mutating func expect(
        _ actions: [ConsumerStateMachine.Action], _ expected: ConsumerStateMachine.Action, if isNeeded: Bool
    ) {
        guard isNeeded else { return }
        if !actions.contains(where: { "\($0)" == "\(expected)" }) {
            violations.append("the action \(expected) is missing")
        }
    }

    private mutating func run(_ action: ConsumerStateMachine.Action) {
        switch action {
        case .read:
            if case .idle = reading { reading = .begins } else { violations.append("a second reader was started") }
            // The actor's task may begin at once.
            if roll(2) == 0 { beginRead() }
        case .commit(let first):
            if case .idle = committing {
                committing = .toSend(first)
            } else {
                violations.append("a second committer was started")
            }
        case .rescan:
            if beganScan, case .waits = reading { violations.append("a scan that had just begun was restarted") }
            wantsRescan = true
        case .wake: waiting = []
        case .resume(let waiter, let result):
            guard let index = settling.firstIndex(where: { $0.waiter === waiter }) else {
                return violations.append("a settlement completed twice")
            }
            let (lease, kind, _) = settling.remove(at: index)
            waiter.resume(with: result)
            ended(lease, kind, result)
        case .update(let lease, let state): lease.update(state)
        case .settlingFailed(let lease): lease.settlingFailed()
        case .expire(let lease): handedOut.append(lease)
        case .oversee, .restartOversight, .renew, .restartRenewal, .becameEmpty, .stopWatching, .count, .countRenewal,
            .skip,
            .handled, .log:
            break
        }
    }

    private mutating func ended(_ lease: Lease, _ kind: Settlement.Kind, _ result: Result<Void, any Error>) {
        let end = ends[ObjectIdentifier(lease)]
        switch result {
        case .success:
            if end != kind {
                violations.append("\(lease.name.string) completed as \(kind), but was settled by \(end as Any)")
            }
        case .failure(let error):
            let code = (error as? QueueError)?.code
            if code != .outcomeUnknown, code != .alreadySettled, end != nil {
                violations.append("\(lease.name.string) failed to settle, but is settled")
            }
        }
        if releasing.contains(ObjectIdentifier(lease)) {
            // The actor retries a release too.
            if case .failure(let error as QueueError) = result, error.cause?.isRetryable == true {
                return settle(lease, by: .release)
            }
            releasing.remove(ObjectIdentifier(lease))
            handle { $0.releaseEnded(lease) }
        } else if case .failure = result, lease.state == .held || lease.state == .suspended {
            // The caller tries again.
            handedOut.append(lease)
        }
    }

    // MARK: Rules

    private mutating func check() {
        if machine.isReading != { if case .idle = reading { false } else { true } }() {
            violations.append("isReading is wrong")
        }
        if machine.isCommitting != { if case .idle = committing { false } else { true } }() {
            violations.append("isCommitting is wrong")
        }
        for lease in machine.buffer where machine.leases[lease.name.string] !== lease {
            violations.append("\(lease.name.string) is buffered without a lease")
        }
        let known: LeaseState = session.phase == .suspended ? .suspended : .held
        // After a silence, only the leases that the consumer has begun since are held.
        if !machine.wasSilent, machine.registration?.sessionID == session.sessionID {
            for lease in machine.leases.values where lease.state != known {
                violations.append("\(lease.name.string) is \(lease.state) instead of \(known)")
            }
        }
        for lease in leases where machine.leases[lease.name.string] !== lease {
            if lease.state != .lost, lease.state != .settled {
                violations.append("\(lease.name.string) has no lease, but is \(lease.state)")
            }
        }
        // After a silence, the next renewal makes the buffer available.
        if machine.buffer.first?.state == .held, !machine.wasSilent, !machine.isPaused, !waiting.isEmpty,
            case .idle = committing
        {
            violations.append("a caller waits although a message is buffered")
        }
        if machine.leases.count > machine.configuration.prefetch + 10 * ConsumerStateMachine.maximumUrgent {
            violations.append("the consumer holds too many leases: \(machine.leases.count)")
        }
        let prepared = machine.prepared.map(\.name.string)
        if Set(prepared).count != prepared.count { violations.append("a message was prepared twice") }
        if machine.demand != requests.count {
            violations.append("the demand is \(machine.demand) instead of \(requests.count)")
        }
        if machine.waiters != waiting { violations.append("the set of waiting requests is wrong") }
        // A transaction in flight may change the tree at any time.
        if case .idle = committing, machine.registration?.sessionID == session.sessionID {
            if Set(machine.leases.keys).subtracting(taken) != leased {
                violations.append(
                    "the consumer holds \(machine.leases.keys.sorted()), but the tree has \(leased.sorted())")
            }
            if machine.heldLeases.version != version {
                violations.append("the version of the consumer's node is wrong")
            }
        }
        // For every waiting caller, some event must still be expected.
        if !waiting.isEmpty, case .idle = reading, case .idle = committing, machine.buffer.first?.state != .suspended,
            machine.free() > 0, !machine.wasSilent, !machine.isPaused
        {
            violations.append("a caller waits, but nothing is in progress")
        }
    }
}

extension ConsumerStateMachine {
    /// The names of the states in the article *How it works*.
    var states: [String: String] {
        let membershipName =
            switch membership {
            case .unregistered: "unregistered"
            case .pending: "pending"
            case .registered: "registered"
            }
        let positionName =
            switch position {
            case .outside: "outside"
            case .waiting: "waiting"
            case .first: "first"
            case .barred: "barred"
            }
        return ["membership": membershipName, "position": positionName, "phase": "\(phase)"]
    }
}
