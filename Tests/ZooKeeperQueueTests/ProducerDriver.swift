import DequeModule
import QueueHistory
import ZooKeeper

@testable import ZooKeeperQueue
@testable import ZooKeeperTestKit

/// Plays everything outside a producer's state machine: its callers, its connection, the task of its maintenance, and a
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
    /// The events and the states before them, when a run is played again to be read.
    var trace: [String]?

    private var random: SeededGenerator
    private var now = Duration.seconds(1_000)
    private let zookeeper = InMemoryZooKeeper()
    private let session: InMemorySession

    // Callers, by the numbers that they wait with.
    private var calls: [Int: Call] = [:]
    private var nextCall = 0
    /// Sends whose callers were told that the outcome is unknown.
    private var unknown: [UnresolvedSend: Int] = [:]
    /// Messages whose callers were told for certain that they are not stored.
    private var refused: Set<Message> = []

    // What was sent.
    private var inFlight: Deque<BatchTransaction> = []
    private var stored: [Message] = []
    private var isStored: Set<Message> = []
    /// Messages that were in a batch, so that they may be stored.
    private var everSent: Set<Message> = []
    /// The messages with each id that this producer sent, and whether the id was ever stored.
    private var ids: [Message: String] = [:]
    private var everRemembered: Set<String> = []

    // The producer's tasks.
    private var maintainers = 0
    private var step: ProducerStep?
    private var timer: Duration?
    /// The nodes that the producer has removed, or tried to.
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

    /// One event of any kind.
    mutating func step(withFaults: Bool = true) {
        now += .milliseconds(roll(40))
        fireTimer()
        switch roll(40) {
        case 0...9: send()
        case 10: cancel()
        case 11: waitAgain()
        case 12: now += .seconds(roll(3))
        case 13...25: answer(withFaults: withFaults)
        case 26...37: maintain(withFaults: withFaults)
        case 38: consume()
        default: if withFaults { interfere() }
        }
        check()
    }

    /// Lets everything come to its end, without faults.
    mutating func settleDown() {
        change { $0.capacity = QueueCapacity() }
        for _ in 0..<5_000 {
            now += .milliseconds(5)
            answer(withFaults: false)
            maintain(withFaults: false)
            if !unknown.isEmpty { waitAgain() }
            fireTimer()
            check()
            if calls.isEmpty, unknown.isEmpty, machine.sequence.isEmpty, inFlight.isEmpty, maintainers == 0 { return }
        }
        violations.append("it does not come to an end: \(calls.count) callers, \(machine.states), step \(step as Any)")
    }

    /// Closes the producer, as the actor does, and goes on until nothing is under way.
    mutating func close(withFaults: Bool) {
        isClosing = true
        waitsForIdle = handle { $0.close() }
        if !waitsForIdle { checkIdle() }
        if (try? machine.accept(1)) != nil { violations.append("it accepts a send after its end") }
        for turn in 0..<5_000 where waitsForIdle && violations.isEmpty {
            now += .milliseconds(50)
            answer(withFaults: withFaults && roll(4) == 0)
            maintain(withFaults: withFaults && roll(4) == 0)
            // As long as a caller waits, so does close().
            if turn < 200, roll(20) == 0 { waitAgain() }
            fireTimer()
            check()
        }
        if waitsForIdle { violations.append("close() waits for ever: \(machine.states), step \(step as Any)") }
        if !calls.isEmpty { violations.append("\(calls.count) callers are never answered") }
        leave()
    }

    private mutating func leave() {
        let existing = machine.node.existing
        let node = handle { $0.leave() }
        if node != existing { violations.append("it leaves \(existing ?? "no node") behind") }
        timer = nil
        hasLeft = true
        for _ in 0..<unknown.count { waitAgain() }
        if !calls.isEmpty { violations.append("\(calls.count) callers are not answered after the end") }
        if machine.pending.messages != 0 || machine.pending.bytes != 0 {
            violations.append("\(machine.pending.messages) messages of \(machine.pending.bytes) bytes are left")
        }
    }

    private mutating func send() {
        guard !isClosing, calls.count < 40 else { return }
        let count = [1, 1, 1, 2, 5, 40][roll(6)]
        let messages = (0..<count).map { _ in
            let id = roll(8) == 0 ? "id-\(roll(30))" : nil
            return EncodedMessage(priority: 100 + roll(2), data: [1], size: 80, id: id)
        }
        let deadline = now + .milliseconds(50 + roll(5_000))
        let waiter = nextCall
        nextCall += 1
        // Known only afterwards; a caller is told nothing within the call.
        let send = handle { [now] in $0.send(messages, deadline: deadline, waiter: waiter, now: now) }
        calls[waiter] = Call(send: send, messages: count, deadline: deadline)
        for (index, message) in messages.enumerated() where message.id != nil {
            ids[Message(send: send, index: index)] = message.id
        }
    }

    private mutating func cancel() {
        guard let (waiter, call) = calls.sorted(by: { $0.key < $1.key }).randomElement(using: &random) else { return }
        handle { $0.cancelled(call.send) }
        if calls[waiter] != nil { violations.append("\(call.send) was cancelled, and waits") }
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

    private mutating func answer(withFaults: Bool) {
        guard let plan = inFlight.popFirst() else { return }
        guard withFaults, roll(6) == 0 else {
            let result = apply(plan)
            return handle { [now] in $0.answered(plan, result, now: now) }
        }
        // The connection is lost: the servers have applied some of what was sent, in its order.
        let lost = [plan] + inFlight
        inFlight = []
        let applied = roll(lost.count + 1)
        for plan in lost.prefix(applied) { _ = apply(plan) }
        var isFirst = true
        for plan in lost {
            let error = isFirst && applied == 0 && roll(3) == 0 ? Self.refusal(.sessionMoved) : Self.noAnswer
            isFirst = false
            handle { [now] in $0.answered(plan, .failure(error), now: now) }
        }
    }

    private static let noAnswer = ZooKeeperError(code: .connectionLoss, message: "", path: nil, outcome: .unknown)

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
            // The server has given the number of the message's node to another client; or the rights are missing.
            let code: ZooKeeperError.Code = plan.batch.entries.allSatisfy { $0.id == nil } ? .nodeExists : .noAuth
            return .failure(Self.refusal(fault == 0 ? .noAuth : code, at: plan.operations.count - 1))
        }
        // Judged by a server that is rolled back.
        if fault == 2 { return .failure(Self.refusal(.badVersion, at: 0)) }
        let result = commit(plan.operations)
        if case .success = result { note(plan.batch.entries) }
        return result.mapError { $0 }
    }

    private mutating func noteSent(_ plan: BatchTransaction) {
        for entry in plan.batch.entries { everSent.insert(Message(send: entry.send, index: entry.index)) }
    }

    private mutating func note(_ entries: [ProducerSequence.Entry]) {
        for entry in entries {
            let message = Message(send: entry.send, index: entry.index)
            if !isStored.insert(message).inserted { violations.append("\(message) is stored twice") }
            if refused.contains(message) { violations.append("\(message) was refused, and is stored") }
            if let last = stored.last, (last.send.number, last.index) > (message.send.number, message.index) {
                violations.append("\(message) is stored behind \(last)")
            }
            if let id = entry.id { everRemembered.insert(id) }
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
            if machine.node.name.map(tree.producer) == path { violations.append("it removes the node that it uses") }
        }
        if isRefused {
            switch step {
            case .resolve(let plan):
                // Refused as a whole, whatever became of the first attempt.
                if roll(10) == 0 { return handle { $0.resolved(plan, .failure(Self.refusal(.noAuth))) } }
                if roll(2) == 0 { _ = apply(plan) }
                return handle { $0.resolved(plan, .failure(Self.noAnswer)) }
            case .createNode(let path):
                if roll(2) == 0 { _ = commit([.create(path, data: [])]) }
                return fail(Self.noAnswer)
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
        case .restoreFolders(let cause, _):
            createFolders()
            handle { $0.foldersRestored(cause) }
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

    // MARK: The tree, and others who change it

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

    /// Changes the settings, and so the version of the epoch.
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
            // A recovery, or an administrator, removes the producer's node.
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
            // A recovery begins another bucket.
            if let node = node(tree.ids), let buckets = try? DeduplicationBuckets(node) {
                _ = commit(buckets.next(in: tree, acl: nil))
            }
        default:
            // Another producer sends the same id.
            let id = "id-\(roll(30))"
            if let node = node(tree.ids), let buckets = try? DeduplicationBuckets(node),
                case .success = commit(buckets.operations(storing: id, in: tree))
            {
                everRemembered.insert(id)
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
            violations.append("it takes itself for idle: \(machine.states)")
        }
    }

    private mutating func run(_ action: ProducerStateMachine<Int>.Action) {
        if hasLeft {
            if case .resume = action {} else { violations.append("\(action) comes after the end") }
        }
        switch action {
        case .send(let plan):
            inFlight.append(plan)
            noteSent(plan)
        case .maintain: maintainers += 1
        case .resume(let waiter, let result): answered(waiter, result)
        case .wake(let time): timer = time
        case .becameIdle:
            if !waitsForIdle { violations.append("it tells that it is idle, and nobody asked") }
            waitsForIdle = false
            checkIdle()
        case .log: break
        }
    }

    private mutating func answered(_ waiter: Int, _ result: Result<[SendReceipt], any Error>) {
        guard let call = calls.removeValue(forKey: waiter) else {
            return violations.append("a caller is answered that does not wait")
        }
        let messages = (0..<call.messages).map { Message(send: call.send, index: $0) }
        switch result {
        case .success(let receipts):
            if receipts.count != call.messages { violations.append("\(receipts.count) receipts of \(call.messages)") }
            for (message, receipt) in zip(messages, receipts) {
                if receipt.isDuplicate {
                    let wasStored = ids[message].map { everRemembered.contains($0) } ?? false
                    if !wasStored { violations.append("\(message) is told to be a duplicate, and is none") }
                    if isStored.contains(message) { violations.append("\(message) is a duplicate of itself") }
                    refused.insert(message)
                } else if !isStored.contains(message) {
                    violations.append("\(message) is told to be stored, and is not")
                }
            }
        case .failure(let error):
            let code = (error as? QueueError)?.code
            switch code {
            case .outcomeUnknown:
                // A message that was found to be a duplicate has a result too.
                if everSent.isDisjoint(with: messages), messages.allSatisfy({ ids[$0] == nil }) {
                    violations.append("\(call.send) was never sent, and is unknown")
                }
                if let send = (error as? QueueError)?.unresolvedSend { unknown[send] = call.messages }
                return
            case .timedOut:
                if now < call.deadline { violations.append("\(call.send) ends before its deadline: \(error)") }
            case .closed where !isClosing: violations.append("\(call.send) is told that the producer is closed")
            default: break
            }
            for message in messages {
                // When ZooKeeper refuses the messages for a reason that stays, the first ones may be stored.
                let mayBeStored = code == .permissionDenied && call.messages > 1
                if isStored.contains(message), !mayBeStored {
                    violations.append("\(message) is told \(error), and is stored")
                }
                if !isStored.contains(message) { refused.insert(message) }
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
            violations.append("\(machine.inFlight) in flight of \(inFlight.count)")
        }
        if maintainers != (machine.maintenance == nil ? 0 : 1) { violations.append("\(maintainers) maintainers") }
        if machine.inFlight > 0, machine.maintenance != nil {
            violations.append("a batch is under way during the maintenance")
        }
        if case .open(let name) = machine.node, !isRemoving {
            for other in children(of: tree.producers) where other != name && !removed.contains(tree.producer(other)) {
                violations.append("it forgets its former node \(other)")
            }
        }
        if inFlight.count > 4 { violations.append("\(inFlight.count) batches are under way") }
        if machine.pending.waiters != calls.count {
            violations.append("\(machine.pending.waiters) waiters of \(calls.count)")
        }
        if !machine.sequence.isEmpty, inFlight.isEmpty, maintainers == 0 {
            violations.append("messages wait, and nothing is under way")
        }
        if let first = calls.values.map(\.deadline).min(), timer.map({ $0 > first }) ?? true {
            violations.append("the timer fires \(timer as Any), and a caller waits until \(first)")
        }
    }
}

extension ProducerStateMachine {
    /// The names of the states, as the article *How it works* has them.
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
