import Logging
import ZooKeeper

/// Rolls the sequence numbers over: creates `items` again, in another epoch, and moves its messages to `earlier`.
///
/// The server numbers items with 32 bits, and a node's numbers start again only when the node itself is created again.
///
/// Each move is one transaction, so a message is never in two places or in none. Consumers know both folders, and
/// order messages by priority, epoch and number, whichever folder a message is in. Only an empty node can be deleted,
/// so the last few messages move in the transaction that creates `items` again. Producers are asked to wait for that
/// moment. A legacy or foreign producer does not wait, and loses nothing: either its create comes after that
/// transaction, or the transaction fails and is tried again. Only a producer that creates thousands of items a second,
/// without a pause, can hold up the rollover.
struct SequenceRollover: RecoveryDuty {
    let queue: MessageQueue
    let mover: MessageMover
    private(set) var report = RecoveryReport()

    /// How long an attempt keeps producers waiting at most. They continue by themselves after a second.
    private static let closingLimit = Duration.milliseconds(500)
    /// How long a long queue may keep the recovery from its other duties.
    private static let movingLimit = Duration.seconds(10)
    /// How many messages move in the last transaction. With a delete and a create for each, they use about half of the
    /// operations that one transaction may have.
    private static let maximumLastMoves = 300
    /// How many transactions are in flight at a time while a long queue moves.
    private static let transactionsAtOnce = 8

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    private enum Outcome {
        /// `items` was created again, in this epoch.
        case done(epoch: UInt32)
        /// Another client has changed the epoch. The next pass tries again.
        case overtaken
        case blocked(reason: String)
    }

    /// Rolls the sequence numbers over when they approach their limit. Logs obstacles, and the next pass tries again.
    mutating func run() async throws {
        guard let items = try await store.exists(tree.items),
            items.childrenCreated >= (try await queue.attributeStore.read().sequenceRolloverThreshold)
        else { return }
        guard try await store.capabilities.contains(.transactions) else {
            queue.logger.error(
                "A sequence rollover requires a store with transactions",
                metadata: ["queue": "\(queue.path)"])
            return
        }
        do {
            switch try await rollOver() {
            case .done(let epoch):
                report.sequenceRollovers += 1
                queue.logger.notice("Rolled over the sequence numbers", metadata: ["epoch": "\(epoch)"])
            case .overtaken: break
            case .blocked(let reason):
                let left = "\(Int(Int32.max) - items.childrenCreated)"
                queue.logger.warning(
                    "Could not roll over the sequence numbers yet",
                    metadata: ["queue": "\(queue.path)", "left": "\(left)", "reason": "\(reason)"])
            }
        } catch let error as ZooKeeperError where !error.isRetryable && error.code != .closed {
            // The pass does not fail, because the server has numbers left.
            queue.logger.error(
                "Could not roll over the sequence numbers",
                metadata: ["queue": "\(queue.path)", "error": "\(error)"])
        }
    }

    private func rollOver() async throws -> Outcome {
        var epoch = try await queue.reader.sequenceEpoch()
        if epoch.phase == .open {
            guard let moving = try await change(epoch, to: .moving) else { return .overtaken }
            epoch = moving
        }
        if let obstacle = try await moveMost(epoch) { return .blocked(reason: obstacle) }
        // Look for an obstacle before producers are asked to wait, because they would wait for nothing.
        let (_, obstacle) = try await planMoves(try await names(), epoch)
        if let obstacle { return .blocked(reason: obstacle) }
        guard let closing = try await change(epoch, to: .closing) else { return .overtaken }
        let end = store.now + Self.closingLimit
        while store.now < end, !Task.isCancelled {
            if try await moveRemaining(closing) { return .done(epoch: closing.number &+ 1) }
        }
        _ = try await change(closing, to: .moving)
        return .blocked(reason: "producers that do not wait for the rollover send too fast")
    }

    /// Changes the phase of the epoch.
    ///
    /// - Returns: the epoch in its new phase; `nil` when another client has changed it.
    private func change(_ epoch: SequenceEpoch, to phase: SequenceEpoch.Phase) async throws -> SequenceEpoch? {
        try await store.attempt([epoch.change(to: phase, in: tree)], tolerating: .badVersion)
        let current = try await queue.reader.sequenceEpoch()
        return current.number == epoch.number && current.phase == phase ? current : nil
    }

    // MARK: Moving

    /// Moves the messages in `items` until so few are left that one transaction can move them. Begins with the newest
    /// messages, because consumers are claiming the oldest.
    ///
    /// - Returns: the obstacle; `nil` when few messages are left.
    private func moveMost(_ epoch: SequenceEpoch) async throws -> String? {
        let end = store.now + Self.movingLimit
        while true {
            var names = try await readyNames(epoch).sorted { $1 < $0 }.map(\.untagged)[...]
            if names.count <= Self.maximumLastMoves { return nil }
            var moved = 0
            while !names.isEmpty {
                try Task.checkCancellation()
                if store.now >= end { return "\(names.count) messages are left to move" }
                let chunk = names.prefix(MessageMover.batchSize * Self.transactionsAtOnce)
                names = names.dropFirst(chunk.count)
                let outcome = try await moveConcurrently(chunk, epoch)
                guard outcome.isComplete else { return "another client changed the epoch" }
                moved += outcome.count
            }
            if moved == 0 { return "none of the \(try await self.names().count) messages can be moved" }
        }
    }

    /// Moves messages with several transactions at a time.
    private func moveConcurrently(_ names: ArraySlice<String>, _ epoch: SequenceEpoch) async throws
        -> MessageMover.Outcome
    {
        try await withThrowingTaskGroup(of: MessageMover.Outcome.self) { group in
            for start in stride(from: names.startIndex, to: names.endIndex, by: MessageMover.batchSize) {
                let batch = Array(names[start..<min(start + MessageMover.batchSize, names.endIndex)])
                group.addTask {
                    try await mover.apply(try await planMoves(batch, epoch).moves, guardedBy: .epoch(epoch))
                }
            }
            return try await group.reduce(into: MessageMover.Outcome()) { sum, outcome in
                sum.isComplete = sum.isComplete && outcome.isComplete
                sum.count += outcome.count
            }
        }
    }

    /// Creates `items` again, and moves its remaining messages with the same transaction.
    ///
    /// - Returns: whether the rollover is complete.
    private func moveRemaining(_ epoch: SequenceEpoch) async throws -> Bool {
        guard let node = try await queue.reader.node(tree.items) else { return false }
        let names = try await names()
        let (moves, obstacle) = try await planMoves(Array(names.prefix(Self.maximumLastMoves)), epoch)
        if obstacle != nil { return false }
        guard names.count <= Self.maximumLastMoves, mover.fits(moves) else {
            _ = try await mover.apply(moves, guardedBy: .epoch(epoch))
            return false
        }
        let acl = try await store.aclEntries(of: tree.items)
        do {
            _ = try await store.multi(
                [epoch.change(to: .open, number: epoch.number &+ 1, in: tree)] + moves.flatMap(\.operations)
                    + [.delete(tree.items), .create(tree.items, data: node.data, acl: acl)])
            return true
        } catch let error as ZooKeeperError where error.code == .nodeExists && error.operationIndex != nil {
            // A node with that name, which is not a message, was moved before. The mover finds another name for it.
            _ = try await mover.apply(moves, guardedBy: .epoch(epoch))
            return false
        } catch let error as ZooKeeperError
            where error.outcome == .unknown || [.notEmpty, .noNode, .badVersion].contains(error.code)
        {
            // A message was created, claimed or changed in the meantime, or the reply was lost.
            return try await queue.reader.sequenceEpoch().number != epoch.number
        }
    }

    // MARK: Reading

    private func names() async throws -> [String] { try await store.children(of: tree.items).names }

    private func readyNames(_ epoch: SequenceEpoch) async throws -> [ItemName] {
        try await names().compactMap { ItemName($0, inEpoch: epoch.number) }
    }

    /// Reads nodes in `items`, and returns their moves to `earlier`.
    ///
    /// Leaves out a node that cannot move now, and returns the reason. A legacy producer creates an item empty and
    /// fills it with a second write, which must find the item at its old path. A node with children cannot be deleted.
    private func planMoves(
        _ names: [String], _ epoch: SequenceEpoch
    ) async throws -> (moves: [MessageMove], obstacle: String?) {
        var obstacle: String?
        let readings = try await queue.reader.read(names.map(tree.item))
        let moves = zip(names, readings).compactMap { name, reading -> MessageMove? in
            if case .refused(let error) = reading { obstacle = "\(name) cannot be read: \(error.message)" }
            guard let node = reading.node else { return nil }
            let item = ItemName(name, inEpoch: epoch.number)
            if item != nil, node.data?.isEmpty ?? true, node.stat.version == 0 {
                obstacle = "\(name) is still being written"
                return nil
            }
            if node.stat.numChildren > 0 {
                obstacle = "\(name) has children; delete them"
                return nil
            }
            var move = MessageMove(from: tree.item(name), version: node.stat.version, store: store)
            // A node that is not a message moves too, under its own name, because `items` must be empty.
            let data = item == nil ? node.data : Envelope.restored(node.data)
            move.messages = [.init(path: tree.earlier(item?.string ?? name), data: data)]
            if !mover.fits([move]) {
                obstacle = "\(name) does not fit into the recovery client's maximumRequestSize"
                return nil
            }
            return move
        }
        return (moves, obstacle)
    }
}
