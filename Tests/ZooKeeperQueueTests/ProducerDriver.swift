import DequeModule
import QueueHistory
import ZooKeeper

@testable import ZooKeeperQueue
@testable import ZooKeeperTestKit

/// Simulates everything outside a producer's state machine: the callers, the connection, the maintenance task, and a
/// tree that other clients change too. Records every broken rule.
struct ProducerDriver {
    private struct Message: Hashable {
        let send: UnresolvedSend
        let index: Int
    }
    private struct Call {
        let send: UnresolvedSend
        let messages: Int
        let deadline: Duration
    }

    private(set) var machine: ProducerStateMachine<Int>
    private(set) var violations: [String] = []
    private(set) var storedCount = 0
    /// The changes of the machine's states, as `node: creating → open`.
    private(set) var transitions: Set<String> = []
    /// The events, and the states before each, of a run that is repeated to find the cause of a failure.
    var trace: [String]?

    private var random: SeededGenerator
    private var now = Duration.seconds(1_000)
    private let zookeeper = InMemoryZooKeeper()
    private let session: InMemorySession

    // The callers, by the numbers of their waiters.
    private var calls: [Int: Call] = [:]
    private var nextCall = 0
    /// Sends that failed with an unknown outcome.
    private var unknown: [UnresolvedSend: Int] = [:]
    /// Messages that were reported as not stored.
    private var refused: Set<Message> = []

    // Batches and messages.
    private var inFlight: Deque<BatchTransaction> = []
    private var stored: [Message] = []
    private var storedMessages: Set<Message> = []
    /// Messages that were in a batch, and may be stored.
    private var sentMessages: Set<Message> = []
    /// The ids of the messages that have one.
    private var ids: [Message: String] = [:]
    /// The ids that any producer has stored.
    private var everStoredIDs: Set<String> = []

    // The producer's tasks.
    private var maintainers = 0
    private var step: ProducerStep?
    private var timer: Duration?
    /// The nodes that the producer has removed or tried to remove.
    private var removed: Set<String> = []
    private var isClosing = false
    private var waitsForIdle = false
    private var hasLeft = false

    init(seed: UInt64, configuration: QueueProducer.Configuration) throws {
        random = SeededGenerator(seed: seed)
        session = zookeeper.connect()
        machine = ProducerStateMachine(try MessageQueue(store: session), configuration)
        createFolders()
    }

    private mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &random) }

    // MARK: Events

    /// Plays one random event.
    mutating func step(withFaults: Bool = true) {
        now += .milliseconds(roll(40))
        fireTimer()
        switch roll(40) {
        case 0...9: send()
        case 10: cancel()
        case 11: waitAgain()
        case 12: now += .seconds(roll(3))
        case 13...25: reply(withFaults: withFaults)
        case 26...37: maintain(withFaults: withFaults)
        case 38: consume()
        default: if withFaults { interfere() }
        }
        check()
    }

    /// Lets all work complete, without faults.
    mutating func settleDown() {
        change { $0.capacity = QueueCapacity() }
        for _ in 0..<5_000 {
            now += .milliseconds(5)
            reply(withFaults: false)
            maintain(withFaults: false)
            if !unknown.isEmpty { waitAgain() }
            fireTimer()
            check()
            if calls.isEmpty, unknown.isEmpty, machine.sequence.isEmpty, inFlight.isEmpty, maintainers == 0 { return }
        }
        violations.append("work is left: \(calls.count) callers, \(machine.states), step \(step as Any)")
    }

    /// Closes the producer as the actor does, and plays events until no work is in progress.
    mutating func close(withFaults: Bool) {
        isClosing = true
        waitsForIdle = handle { $0.close() }
        if !waitsForIdle { checkIdle() }
        if (try? machine.accept(1)) != nil { violations.append("a send was accepted after close()") }
        for turn in 0..<5_000 where waitsForIdle && violations.isEmpty {
            now += .milliseconds(50)
            reply(withFaults: withFaults && roll(4) == 0)
            maintain(withFaults: withFaults && roll(4) == 0)
            // close() waits as long as a caller waits.
            if turn < 200, roll(20) == 0 { waitAgain() }
            fireTimer()
            check()
        }
        if waitsForIdle { violations.append("close() does not return: \(machine.states), step \(step as Any)") }
        if !calls.isEmpty { violations.append("\(calls.count) callers have no result") }
        leave()
    }

    private mutating func leave() {
        let existing = machine.node.existing
        let node = handle { $0.leave() }
        if node != existing {
            violations.append("leave() returned \(node ?? "no node") instead of \(existing ?? "no node")")
        }
        timer = nil
        hasLeft = true
        for _ in 0..<unknown.count { waitAgain() }
        if !calls.isEmpty { violations.append("\(calls.count) callers have no result after close()") }
        if machine.pending.messages != 0 || machine.pending.bytes != 0 {
            violations.append(
                "\(machine.pending.messages) messages of \(machine.pending.bytes) bytes are pending after close()")
        }
    }

    private mutating func send() {
        guard !isClosing, calls.count < 40 else { return }
        let count = [1, 1, 1, 2, 5, 40][roll(6)]
        let messages = (0..<count).map { _ in
            let id = roll(8) == 0 ? "id-\(roll(30))" : nil
            let delivery: Delivery = roll(12) == 0 ? .after(.milliseconds(1 + roll(100_000)), since: now) : .now
            return EncodedMessage(priority: 100 + roll(2), data: [1], size: 80, id: id, delivery: delivery)
        }
        let deadline = now + .milliseconds(50 + roll(5_000))
        let waiter = nextCall
        nextCall += 1
        // The call is recorded afterwards, because no caller gets a result within `send`.
        let send = handle { [now] in $0.send(messages, deadline: deadline, waiter: waiter, now: now) }
        calls[waiter] = Call(send: send, messages: count, deadline: deadline)
        for (index, message) in messages.enumerated() where message.id != nil {
            ids[Message(send: send, index: index)] = message.id
        }
    }

    private mutating func cancel() {
        guard let (waiter, call) = calls.sorted(by: { $0.key < $1.key }).randomElement(using: &random) else { return }
        handle { $0.cancelled(call.send) }
        if calls[waiter] != nil { violations.append("\(call.send) waits after its cancellation") }
    }

    private mutating func waitAgain() {
        let sends = unknown.sorted { $0.key.number < $1.key.number }
        guard let (send, messages) = sends.randomElement(using: &random) else { return }
        unknown[send] = nil
        let deadline = now + .seconds(20)
        let waiter = nextCall
        nextCall += 1
        calls[waiter] = Call(send: send, messages: messages, deadline: deadline)
        handle { [now] in $0.waitAgain(for: send, deadline: deadline, waiter: waiter, now: now) }
    }

    private mutating func fireTimer() {
        guard let end = timer, end <= now else { return }
        timer = nil
        handle { [now] in $0.deadlinePassed(now: now) }
        if let late = calls.values.first(where: { $0.deadline <= now }) {
            violations.append("\(late.send) waits after its deadline")
        }
    }

    // MARK: The connection

    private mutating func reply(withFaults: Bool) {
        guard let plan = inFlight.popFirst() else { return }
        guard withFaults, roll(6) == 0 else {
            let result = apply(plan)
            return handle { [now] in $0.answered(plan, result, sentAt: now, now: now) }
        }
        // The connection is lost. The servers have applied some of the batches, in their order.
        let lost = [plan] + inFlight
        inFlight = []
        let applied = roll(lost.count + 1)
        for plan in lost.prefix(applied) { _ = apply(plan) }
        var isFirst = true
        for plan in lost {
            let error = isFirst && applied == 0 && roll(3) == 0 ? Self.refusal(.sessionMoved) : Self.lostReply
            isFirst = false
            handle { [now] in $0.answered(plan, .failure(error), sentAt: now, now: now) }
        }
    }

    private static let lostReply = ZooKeeperError(code: .connectionLoss, message: "", path: nil, outcome: .unknown)

    private static func refusal(_ code: ZooKeeperError.Code, at operation: Int? = nil) -> ZooKeeperError {
        ZooKeeperError(code: code, message: "", path: nil, operationIndex: operation, outcome: .notApplied)
    }

    private static func check(_ operation: ZooKeeper.ZooKeeperOperation) -> ZooKeeper.ZooKeeperOperation {
        guard case .set(let path, _, let version) = operation else { return operation }
        return .check(path, version: version ?? -1)
    }

    private mutating func apply(_ plan: BatchTransaction) -> Result<[OperationResult], any Error> {
        let fault = roll(800)
        // The server refuses a later operation only if the first one, which compares the node's version, would succeed.
        if fault < 2, case .success = commit(Array(plan.operations.prefix(1).map(Self.check))) {
            // Another client's node has the sequence number, or a permission is missing.
            let code: ZooKeeperError.Code = plan.batch.entries.allSatisfy { $0.id == nil } ? .nodeExists : .noAuth
            return .failure(Self.refusal(fault == 0 ? .noAuth : code, at: plan.operations.count - 1))
        }
        // The server was rolled back.
        if fault == 2 { return .failure(Self.refusal(.badVersion, at: 0)) }
        let result = commit(plan.operations)
        if case .success = result {
            note(plan.batch.entries)
            checkDueTimes(plan)
        }
        return result.mapError { $0 }
    }

    private mutating func noteSent(_ plan: BatchTransaction) {
        for entry in plan.batch.entries { sentMessages.insert(Message(send: entry.send, index: entry.index)) }
    }

    /// The leader's clock.
    private static func ensembleTime(at now: Duration) -> Int64 { 1_700_000_000_000 + Int64(now / .milliseconds(1)) }

    private mutating func checkDueTimes(_ plan: BatchTransaction) {
        for entry in plan.batch.entries {
            guard case .after(let delay, let start) = entry.delivery else { continue }
            let due = Self.ensembleTime(at: start + delay)
            if (entry.due?.millisecondsSince1970 ?? 0) < due { violations.append("\(entry.key) is due too early") }
        }
    }

    private mutating func note(_ entries: [ProducerSequence.Entry]) {
        for entry in entries {
            let message = Message(send: entry.send, index: entry.index)
            if !storedMessages.insert(message).inserted { violations.append("\(message) was stored twice") }
            if refused.contains(message) { violations.append("\(message) was reported as not stored, and then stored") }
            if let last = stored.last, (last.send.number, last.index) > (message.send.number, message.index) {
                violations.append("\(message) was stored after \(last)")
            }
            if let id = entry.id { everStoredIDs.insert(id) }
            stored.append(message)
        }
        storedCount += entries.count
    }

    // MARK: The maintenance

    private mutating func maintain(withFaults: Bool) {
        guard maintainers > 0 else { return }
        guard let current = step else {
            step = handle { [now] in $0.nextStep(now: now) }
            if step == nil { maintainers -= 1 }
            return
        }
        step = nil
        carryOut(current, isRefused: withFaults && roll(8) == 0)
    }

    private mutating func carryOut(_ step: ProducerStep, isRefused: Bool) {
        func fail(_ error: any Error) { handle { $0.stepFailed(step, error) } }
        if case .deleteNode(let path) = step {
            removed.insert(path)
            if machine.node.name.map(tree.producer) == path {
                violations.append("the producer removes the node that it uses")
            }
        }
        if isRefused {
            switch step {
            case .resolve(let plan):
                // The batch is refused as a whole, whatever the outcome of the first attempt is.
                if roll(10) == 0 { return handle { $0.resolved(plan, .failure(Self.refusal(.noAuth))) } }
                if roll(2) == 0 { _ = apply(plan) }
                return handle { $0.resolved(plan, .failure(Self.lostReply)) }
            case .createNode(let path):
                if roll(2) == 0 { _ = commit([.create(path, data: [])]) }
                return fail(Self.lostReply)
            case .pause, .sleep: break
            case .prepare:
                let cause = Self.refusal(.deadlineExceeded)
                return fail(QueueError(cause, while: "preparing the queue", queue: tree.root))
            default: return fail(Self.refusal(roll(10) == 0 ? .noAuth : .deadlineExceeded))
            }
        }
        switch step {
        case .prepare:
            createFolders()
            handle { $0.prepared() }
        case .readEpoch:
            guard let node = node(tree.epoch), let epoch = try? SequenceEpoch(node) else {
                return fail(Self.refusal(.deadlineExceeded))
            }
            if machine.mustWait(for: epoch) { now += .milliseconds(roll(1_000)) }
            let attributes = QueueAttributes(self.node(tree.settings)?.data)
            handle { $0.epochRead(epoch, attributes) }
        case .readBuckets:
            createBuckets()
            guard let node = node(tree.ids), let buckets = try? DeduplicationBuckets(node) else {
                return fail(Self.refusal(.deadlineExceeded))
            }
            handle { $0.bucketsRead(buckets) }
        case .createNode(let path):
            switch commit([.create(path, data: [])]) {
            case .failure(let error) where error.code != .nodeExists: fail(error)
            default: handle { $0.nodeCreated() }
            }
        case .deleteNode(let path): _ = commit([.delete(path)])
        case .resolve(let plan):
            let result = apply(plan)
            handle { $0.resolved(plan, result) }
        case .inspectNode(let path):
            let version = node(path)?.stat.version
            handle { $0.nodeInspected(version, path: path) }
        case .restoreFolders(let cause, _, let slots):
            createFolders()
            for slot in slots {
                for path in [tree.delayed, tree.delayedDay(slot.day), tree.delaySlot(slot)] {
                    _ = commit([.create(path, data: [])])
                }
            }
            let isPlanned = !slots.isEmpty
            handle { $0.foldersRestored(cause, isPlanned: isPlanned) }
        case .readClock: handle { [now] in $0.clockRead(Self.ensembleTime(at: now), sentAt: now, now: now) }
        case .findDuplicates(let entries, let buckets):
            for number in buckets.numbers {
                let found = entries.filter { node(tree.id($0.id ?? "", inBucket: number)) != nil }
                handle { $0.duplicatesFound(found) }
            }
        case .measureFill:
            let fill = CapacityBudget.Fill(nodes: children(of: tree.items).count, bytes: nil, producers: 1)
            handle { [now] in $0.fillMeasured(fill, now: now) }
        case .pause: now += .milliseconds(50)
        case .sleep(let duration): now += duration
        }
    }

    // MARK: The tree, and the clients that change it

    private var tree: QueueTree { machine.queue.tree }

    private func commit(_ operations: [ZooKeeper.ZooKeeperOperation]) -> Result<[OperationResult], ZooKeeperError> {
        zookeeper.apply(.multi(operations), of: session.sessionState.sessionID, isStale: false).map { reply in
            if case .multi(let results) = reply { results } else { [] }
        }
    }

    private func node(_ path: String) -> Node? {
        let request = Request.get(path: path, watch: false)
        let reply = try? zookeeper.apply(request, of: session.sessionState.sessionID, isStale: false).get()
        if case .node(let node)? = reply { return node }
        return nil
    }

    private func children(of path: String) -> [String] {
        let request = Request.children(path: path, watch: false)
        let reply = try? zookeeper.apply(request, of: session.sessionState.sessionID, isStale: false).get()
        if case .children(let children)? = reply { return children.names.sorted() }
        return []
    }

    private func createFolders() {
        for path in tree.rootAndAncestors + [tree.settings] + tree.parents { _ = commit([.create(path, data: [])]) }
    }

    private func createBuckets() {
        _ = commit([.create(tree.ids, data: [])])
        guard let node = node(tree.ids), let buckets = try? DeduplicationBuckets(node) else { return }
        for number in buckets.numbers { _ = commit([.create(tree.idBucket(number), data: [])]) }
    }

    /// Changes the attributes, and thereby the version of the epoch.
    private func change(_ change: (inout QueueAttributes) -> Void) {
        guard let epoch = node(tree.epoch).flatMap({ try? SequenceEpoch($0) }) else { return }
        var attributes = QueueAttributes(node(tree.settings)?.data)
        change(&attributes)
        _ = commit([.set(tree.settings, data: attributes.encoded()), epoch.change(to: epoch.phase, in: tree)])
    }

    private mutating func consume() {
        for name in children(of: tree.items).prefix(roll(60)) { _ = commit([.delete(tree.item(name))]) }
    }

    private mutating func interfere() {
        switch roll(8) {
        case 0:
            // A recovery or an administrator removes the producer's node.
            for name in children(of: tree.producers) { _ = commit([.delete(tree.producer(name))]) }
            if roll(2) == 0 { _ = commit([.delete(tree.producers)]) }
        case 1:
            if let epoch = node(tree.epoch).flatMap({ try? SequenceEpoch($0) }) {
                _ = commit([epoch.change(to: .open, number: epoch.number + 1, in: tree)])
            }
        case 2:
            let limit: Int? = [nil, nil, 20][roll(3)]
            change { $0.capacity = QueueCapacity(messages: limit) }
        case 3: change { [count = 1 + roll(3)] in $0.maximumBatchSize = count }
        case 4:
            // A recovery starts another bucket.
            if let node = node(tree.ids), let buckets = try? DeduplicationBuckets(node) {
                _ = commit(buckets.next(in: tree, acl: nil))
            }
        default:
            // Another producer stores an id.
            let id = "id-\(roll(30))"
            if let node = node(tree.ids), let buckets = try? DeduplicationBuckets(node),
                case .success = commit(buckets.operations(storing: id, in: tree))
            {
                everStoredIDs.insert(id)
            }
        }
    }

    // MARK: Actions

    @discardableResult
    private mutating func handle<Result>(
        by caller: StaticString = #function, _ event: (inout ProducerStateMachine<Int>) -> Result
    ) -> Result {
        trace?.append("\(now) \(caller): \(machine.states)")
        let before = machine.states
        let result = event(&machine)
        for (name, state) in machine.states where before[name] != state {
            transitions.insert("\(name): \(before[name] ?? "") → \(state)")
        }
        while let action = machine.nextAction() { run(action) }
        return result
    }

    private mutating func checkIdle() {
        if !inFlight.isEmpty || !machine.sequence.isEmpty || machine.maintenance != nil {
            violations.append("the producer became idle with work left: \(machine.states)")
        }
    }

    private mutating func run(_ action: ProducerStateMachine<Int>.Action) {
        if hasLeft {
            if case .resume = action {} else { violations.append("\(action) was emitted after close()") }
        }
        switch action {
        case .send(let plan):
            inFlight.append(plan)
            noteSent(plan)
        case .maintain: maintainers += 1
        case .resume(let waiter, let result): resumed(waiter, result)
        case .wake(let time): timer = time
        case .becameIdle:
            if !waitsForIdle { violations.append("becameIdle was emitted without a call of close()") }
            waitsForIdle = false
            checkIdle()
        case .log: break
        }
    }

    private mutating func resumed(_ waiter: Int, _ result: Result<[SendReceipt], any Error>) {
        guard let call = calls.removeValue(forKey: waiter) else {
            return violations.append("a caller got a result without waiting")
        }
        let messages = (0..<call.messages).map { Message(send: call.send, index: $0) }
        switch result {
        case .success(let receipts):
            if receipts.count != call.messages {
                violations.append("\(receipts.count) receipts for \(call.messages) messages")
            }
            for (message, receipt) in zip(messages, receipts) {
                if receipt.isDuplicate {
                    let wasStored = ids[message].map { everStoredIDs.contains($0) } ?? false
                    if !wasStored { violations.append("\(message) was reported as a duplicate, but is not") }
                    if storedMessages.contains(message) {
                        violations.append("\(message) was reported as a duplicate of itself")
                    }
                    refused.insert(message)
                } else if !storedMessages.contains(message) {
                    violations.append("\(message) was reported as stored, but is not")
                }
            }
        case .failure(let error):
            let code = (error as? QueueError)?.code
            switch code {
            case .outcomeUnknown:
                // A message that was found to be a duplicate has a result too.
                if sentMessages.isDisjoint(with: messages), messages.allSatisfy({ ids[$0] == nil }) {
                    violations.append("\(call.send) has an unknown outcome, but was never sent")
                }
                if let send = (error as? QueueError)?.unresolvedSend { unknown[send] = call.messages }
                return
            case .timedOut:
                if now < call.deadline { violations.append("\(call.send) timed out before its deadline: \(error)") }
            case .closed where !isClosing: violations.append("\(call.send) failed with closed before close()")
            default: break
            }
            for message in messages {
                // After a permanent refusal, the first messages of the send may be stored.
                let mayBeStored = code == .permissionDenied && call.messages > 1
                if storedMessages.contains(message), !mayBeStored {
                    violations.append("\(message) failed with \(error), but is stored")
                }
                if !storedMessages.contains(message) { refused.insert(message) }
            }
        }
    }

    private var isRemoving: Bool {
        if case .deleteNode? = machine.maintenance?.urgent { return true }
        if case .deleteNode? = step { return true }
        return false
    }

    // MARK: Rules

    private mutating func check() {
        if machine.inFlight != inFlight.count {
            violations.append("inFlight is \(machine.inFlight) instead of \(inFlight.count)")
        }
        if maintainers != (machine.maintenance == nil ? 0 : 1) {
            violations.append("\(maintainers) maintenance tasks are running")
        }
        if machine.inFlight > 0, machine.maintenance != nil {
            violations.append("a batch is in flight during maintenance")
        }
        if case .open(let name) = machine.node, !isRemoving {
            for other in children(of: tree.producers) where other != name && !removed.contains(tree.producer(other)) {
                violations.append("the producer forgets its former node \(other)")
            }
        }
        if inFlight.count > 4 { violations.append("\(inFlight.count) batches are in flight") }
        if machine.pending.waiters != calls.count {
            violations.append("the number of waiters is \(machine.pending.waiters) instead of \(calls.count)")
        }
        if !machine.sequence.isEmpty, inFlight.isEmpty, maintainers == 0 {
            violations.append("messages wait, but nothing is in progress")
        }
        if let first = calls.values.map(\.deadline).min(), timer.map({ $0 > first }) ?? true {
            violations.append("the timer fires at \(timer as Any), but a deadline is \(first)")
        }
    }
}

extension ProducerStateMachine {
    /// The names of the states in the article *How it works*.
    var states: [String: String] {
        let nodeName =
            switch node {
            case .missing: "missing"
            case .creating: "creating"
            case .open: "open"
            }
        let batches =
            sequence.isUnresolved
            ? "unresolved" : sequence.isHalted ? "halted" : sequence.batches.isEmpty ? "none" : "in flight"
        let idsName =
            switch deduplication {
            case .unused: "unused"
            case .unread: "unread"
            case .read: "read"
            }
        return ["node": nodeName, "batches": batches, "ids": idsName, "phase": "\(phase)"]
    }
}
