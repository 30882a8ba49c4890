import Logging
import ZooKeeper

/// Moves the delayed messages that are due to the ready messages, and tells when to look again.
///
/// A message that was sent with a delay gets the next number in `items`. A message that was requeued with a delay keeps
/// its name, and so its position. Each move is one transaction, so a message is never in two places or in none.
///
/// Only slots that have begun are listed. An empty slot is removed once it has passed. It could come back with the
/// same sequence numbers, and a name must not mean two messages. So each removal changes the version of `delayed`, and
/// each move checks the version that was read before the slot was listed.
struct DueMessages: RecoveryDuty {
    let queue: MessageQueue
    let mover: MessageMover
    /// The ensemble's clock: the earliest time that it can show.
    let now: EnsembleTime
    private(set) var report = RecoveryReport()

    /// When to look again; `nil` when no message waits.
    private(set) var nextTime: EnsembleTime?
    /// The listed folders, and the transaction that last changed their children; `nil` for a missing folder. A change
    /// can bring a message that is due earlier.
    private(set) var listed: [String: Int64?] = [:]
    /// Whether the tree holds no delayed message.
    private(set) var isUnused = false
    /// Whether a transaction was sent that moves messages.
    private var hasTried = false
    private var epoch = SequenceEpoch()
    /// The version of `delayed`.
    private var version: Int32 = 0
    /// Folders that are empty and in the past.
    private var passed: [String] = []

    /// How long an empty slot stays after its end, for producers that are just sending a message there.
    private static let grace = Duration.seconds(60)
    /// How long to wait for a rollover when the sequence numbers are used up.
    private static let rolloverPause = Duration.seconds(1)
    /// How long to wait when the messages cannot be moved now.
    private static let retryInterval = Duration.milliseconds(50)

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    init(queue: MessageQueue, mover: MessageMover, now: EnsembleTime) {
        (self.queue, self.mover, self.now) = (queue, mover, now)
    }

    mutating func run() async throws {
        guard let folder = try await list(tree.delayed) else {
            isUnused = true
            return
        }
        isUnused = folder.names.isEmpty
        if isUnused { return }
        // Throws for a tree of a later format, which must be left alone.
        epoch = try await queue.reader.sequenceEpoch()
        version = folder.stat.version
        for day in DelaySlot.days(queue.skipped.usable(folder.names, in: tree.delayed)) {
            let first = DelaySlot.first(ofDay: day)
            guard first.start <= now else {
                lookAgain(at: first.start)
                break
            }
            let path = tree.delayedDay(day)
            try await queue.skipped.handle(path) { try await run(day: day, path) }
        }
        try await removePassed()
    }

    private mutating func run(day: Int64, _ path: String) async throws {
        guard let children = try await list(path) else { return }
        for slot in DelaySlot.slots(queue.skipped.usable(children.names, in: path), ofDay: day) {
            guard slot.start <= now else {
                lookAgain(at: slot.start)
                break
            }
            let path = tree.delaySlot(slot)
            try await queue.skipped.handle(path) { try await run(slot, path) }
        }
        if children.names.isEmpty { passes(path, at: DelaySlot.first(ofDay: day + 1).start) }
    }

    private mutating func run(_ slot: DelaySlot, _ path: String) async throws {
        guard let children = try await list(path) else { return }
        let names = queue.skipped.usable(children.names, in: path).compactMap { DelayedName($0) }.sorted()
        let due = names.prefix { $0.due <= now }
        if due.count < names.count { lookAgain(at: names[due.count].due) }
        if !due.isEmpty { try await move(Array(due), from: path) }
        if children.names.isEmpty { passes(path, at: slot.end) }
    }

    private mutating func list(_ path: String) async throws -> NodeChildren? {
        do {
            let children = try await store.children(of: path)
            listed[path] = .some(children.stat.pzxid)
            return children
        } catch let error as ZooKeeperError where error.code == .noNode {
            listed[path] = .some(nil)
            return nil
        }
    }

    private mutating func lookAgain(at time: EnsembleTime) { nextTime = min(nextTime ?? time, time) }

    private mutating func lookAgainSoon() {
        lookAgain(at: now.advanced(by: Self.retryInterval))
    }

    // MARK: Moving

    private mutating func move(_ names: [DelayedName], from folder: String) async throws {
        // A producer waits for the end of a rollover too.
        guard epoch.phase != .closing else { return lookAgainSoon() }
        guard try await hasNumbers(names.count) else { return lookAgain(at: now.advanced(by: Self.rolloverPause)) }
        let (reader, size) = (self, MessageMover.batchSize)
        var next = try await moves(names.prefix(size), from: folder)
        for start in stride(from: 0, to: names.count, by: size) {
            let moves = next
            // Reads the next messages while these ones move.
            async let following = reader.moves(names.dropFirst(start + size).prefix(size), from: folder)
            hasTried = true
            let outcome = try await mover.apply(moves, guardedBy: .delayed(epoch, version: version))
            report.madeReady += outcome.count
            if outcome.count < moves.count { lookAgainSoon() }
            next = try await following
            guard outcome.isComplete else { return }
        }
    }

    /// Whether `items` has numbers left for this many messages. A rollover resets the numbers.
    private func hasNumbers(_ count: Int) async throws -> Bool {
        let used = try await store.exists(tree.items)?.childrenCreated ?? 0
        if used + count <= Int(SequenceEpoch.lastNumber) { return true }
        queue.logger.warning(
            "Delayed messages wait for a rollover of the sequence numbers", metadata: ["queue": "\(queue.path)"])
        return false
    }

    private func moves(_ names: ArraySlice<DelayedName>, from folder: String) async throws -> [MessageMove] {
        if names.isEmpty { return [] }
        return try await mover.moves(names.map(\.string), from: { "\(folder)/\($0)" }) { string, node in
            DelayedName(string).map { move(of: $0, node, from: folder) }
        }
    }

    private func move(of name: DelayedName, _ node: Node, from folder: String) -> MessageMove {
        var move = MessageMove(from: "\(folder)/\(name.string)", version: node.stat.version, store: store)
        let data = Envelope.restored(node.data)
        let item = name.item
        if name.wasSent {
            let path = tree.item(ItemName.prefix(priority: item.priority))
            move.messages = [.init(path: path, data: data, isNumbered: true)]
        } else {
            move.messages = [.init(path: epoch.path(of: item, in: tree), data: data)]
        }
        return move
    }

    /// Moves one message, whether or not it is due.
    ///
    /// - Parameter path: the path of the message.
    /// - Returns: `false` when there is no such message.
    static func move(_ path: String, of queue: MessageQueue) async throws -> Bool {
        guard let name = DelayedName(NodePath.name(of: path)) else { return false }
        let folder = String(path.dropLast(name.string.utf8.count + 1))
        var hasTried = false
        let end = queue.store.now + movingLimit
        while queue.store.now < end {
            try Task.checkCancellation()
            var messages = DueMessages(queue: queue, mover: MessageMover(queue), now: name.due)
            guard let root = try await messages.list(queue.tree.delayed) else { return false }
            messages.epoch = try await queue.reader.sequenceEpoch()
            messages.version = root.stat.version
            // After an attempt without a result, a message that is gone was moved.
            guard try await queue.store.exists(path) != nil else { return hasTried }
            try await messages.move([name], from: folder)
            hasTried = hasTried || messages.hasTried
            if messages.report.madeReady > 0 { return true }
            // A reply was lost, a rollover ends, or another client was faster.
            if let skipped = queue.skipped.all.first(where: { $0.path == path }) {
                throw QueueError(.failed, "The message cannot be moved: \(skipped.reason). \(skipped.reason.remedy).")
            }
            try await queue.store.sleep(for: retryInterval)
        }
        throw QueueError(
            .timedOut,
            "The message stays delayed, because a rollover of the sequence numbers does not end. Run a recovery.")
    }

    /// How long to try to move one message.
    private static let movingLimit = Duration.seconds(10)

    // MARK: Removing

    private mutating func passes(_ path: String, at end: EnsembleTime) {
        let time = end.advanced(by: Self.grace)
        if time <= now { passed.append(path) } else { lookAgain(at: time) }
    }

    private mutating func removePassed() async throws {
        for path in passed {
            let removal = [ZooKeeperOperation.set(tree.delayed, data: [], version: version), .delete(path)]
            guard try await store.attempt(removal, tolerating: .noNode, .notEmpty, .badVersion) else { return }
            version &+= 1
        }
    }
}
