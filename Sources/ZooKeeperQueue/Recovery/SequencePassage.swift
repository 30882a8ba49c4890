import Logging
import ZooKeeper

/// The passage to a new epoch of the server's numbers: `items` is made anew, and what stood in it moves to `earlier`.
///
/// Every step is one multi, so that a message is never in two places, or in none. Consumers know both places, and their order
/// is that of priority, epoch and number wherever a message stands. Only an empty node can be made anew, so the last few
/// messages move in the same multi; for that moment producers are asked to wait. A producer that does not ask, an older or a
/// foreign one, loses nothing: what it creates comes before that multi, which then fails and is tried again, or after it. Only
/// one that creates thousands a second without a pause keeps the multi from its moment.
extension RecoveryPass {
    /// How long producers wait at most for an attempt. They go on by themselves after a second.
    private static let longestClosing = Duration.milliseconds(500)
    /// How long a long queue may keep the recovery from its other duties.
    private static let longestMoving = Duration.seconds(10)
    /// With a delete and a create each, about half of what one multi may have.
    private static let lastMoves = 300
    /// Multis under way at a time while a long queue moves.
    private static let movesAtOnce = 8

    /// Makes `items` anew when its numbers near their end. What keeps it from that is told, and tried again by the next pass.
    mutating func passToNextEpoch() async throws {
        guard let items = try await store.exists(tree.items), items.childrenCreated >= queue.settings.sequenceLimit
        else {
            return
        }
        guard try await store.capabilities.contains(.transactions) else {
            queue.logger.error(
                "The numbers of the queue's messages can begin anew by a recovery with transactions alone",
                metadata: ["queue": "\(queue.path)"])
            return
        }
        do {
            if let obstacle = try await pass() {
                let left = "\(Int(Int32.max) - items.childrenCreated)"
                queue.logger.warning(
                    "The numbers of the queue's messages could not begin anew yet",
                    metadata: ["queue": "\(queue.path)", "left": "\(left)", "why": "\(obstacle)"])
            }
        } catch let error as ZooKeeperError where !error.isPassing && error.code != .closed {
            // No reason to give up the other duties.
            queue.logger.error(
                "The numbers of the queue's messages cannot begin anew",
                metadata: ["queue": "\(queue.path)", "why": "\(error)"])
        }
    }

    /// - Returns: what is in the way; `nil` when `items` was made anew, or somebody else is at it.
    private mutating func pass() async throws -> String? {
        var epoch = try await queue.sequenceEpoch()
        if epoch.phase == .open {
            guard let moving = try await change(epoch, to: .moving) else { return nil }
            epoch = moving
        }
        if let obstacle = try await moveAllButTheLast(epoch) { return obstacle }
        // Before producers are asked to wait for nothing.
        if let obstacle = try await departures(try await names(), epoch).obstacle { return obstacle }
        guard let closing = try await change(epoch, to: .closing) else { return nil }
        let end = store.now + Self.longestClosing
        while store.now < end, !Task.isCancelled {
            if try await moveTheLast(closing) {
                report.epochsBegun += 1
                let number = "\(closing.number &+ 1)"
                queue.logger.notice("The numbers of the queue's messages begin anew", metadata: ["epoch": "\(number)"])
                return nil
            }
        }
        _ = try await change(closing, to: .moving)
        return "messages come too fast from producers that do not wait"
    }

    /// - Returns: the epoch as it stands now; `nil` when somebody else has changed it, and the next pass looks again.
    private func change(_ epoch: SequenceEpoch, to phase: SequenceEpoch.Phase) async throws -> SequenceEpoch? {
        try await ignoring(.badVersion) { _ = try await store.multi([epoch.change(to: phase, in: tree)]) }
        let current = try await queue.sequenceEpoch()
        return current.number == epoch.number && current.phase == phase ? current : nil
    }

    /// Moves what stands in `items`, the newest first: consumers are at work on the oldest.
    ///
    /// - Returns: what is in the way, unless so few are left that one multi can move them.
    private func moveAllButTheLast(_ epoch: SequenceEpoch) async throws -> String? {
        let end = store.now + Self.longestMoving
        while true {
            var names = try await readyNames(epoch).sorted { $1 < $0 }.map(\.untagged)[...]
            if names.count <= Self.lastMoves { return nil }
            var moved = 0
            while !names.isEmpty {
                try Task.checkCancellation()
                if store.now >= end { return "\(names.count) messages are still to be moved" }
                let some = names.prefix(Self.batchSize * Self.movesAtOnce)
                names = names.dropFirst(some.count)
                let outcome = try await withThrowingTaskGroup(of: (isComplete: Bool, count: Int).self) { group in
                    for start in stride(from: some.startIndex, to: some.endIndex, by: Self.batchSize) {
                        let batch = Array(some[start..<min(start + Self.batchSize, some.endIndex)])
                        group.addTask { [self] in
                            try await apply(try await departures(batch, epoch).moves, guardedBy: .epoch(epoch))
                        }
                    }
                    return try await group.reduce((true, 0)) { ($0.0 && $1.isComplete, $0.1 + $1.count) }
                }
                guard outcome.0 else { return "the epoch was changed by somebody else" }
                moved += outcome.1
            }
            if moved == 0 { return "none of \(try await self.names().count) messages can be moved" }
        }
    }

    /// Makes `items` anew, with the messages that are left in it moved in the same multi.
    ///
    /// - Returns: whether it is done.
    private func moveTheLast(_ epoch: SequenceEpoch) async throws -> Bool {
        guard let node = try await queue.node(tree.items) else { return false }
        let names = try await names()
        let (moves, obstacle) = try await departures(Array(names.prefix(Self.lastMoves)), epoch)
        if obstacle != nil { return false }
        guard names.count <= Self.lastMoves, fits(moves) else {
            _ = try await apply(moves, guardedBy: .epoch(epoch))
            return false
        }
        let acl = try await store.aclEntries(of: tree.items)
        do {
            _ = try await store.multi(
                [epoch.change(to: .open, number: epoch.number &+ 1, in: tree)] + moves.flatMap(\.operations)
                    + [.delete(tree.items), .create(tree.items, data: node.data, acl: acl)])
            return true
        } catch let error as ZooKeeperError where error.code == .nodeExists && error.operationIndex != nil {
            // A name that is no message's was moved before; each by itself gets another one.
            _ = try await apply(moves, guardedBy: .epoch(epoch))
            return false
        } catch let error as ZooKeeperError
            where error.outcome == .unknown || [.notEmpty, .noNode, .badVersion].contains(error.code)
        {
            // Something came, was taken, or has changed; or the answer was lost.
            return try await queue.sequenceEpoch().number != epoch.number
        }
    }

    private func names() async throws -> [String] { try await store.children(of: tree.items).names }

    private func readyNames(_ epoch: SequenceEpoch) async throws -> [ItemName] {
        try await names().compactMap { ItemName($0, inEpoch: epoch.number) }
    }

    /// - Returns: the moves, and what keeps others of the names from moving now. An older producer creates a message empty and
    ///   fills it with a second write, which must find it where it was; and a node with children is none of ours.
    private func departures(_ names: [String], _ epoch: SequenceEpoch) async throws -> (
        moves: [Move], obstacle: String?
    ) {
        var obstacle: String?
        let readings = try await queue.read(names.map(tree.item))
        let moves = zip(names, readings).compactMap { name, reading -> Move? in
            if case .refused(let error) = reading { obstacle = "\(name) may not be read: \(error.message)" }
            guard let node = reading.node else { return nil }
            let item = ItemName(name, inEpoch: epoch.number)
            if item != nil, node.data?.isEmpty ?? true, node.stat.version == 0 {
                obstacle = "\(name) is still being written"
                return nil
            }
            if node.stat.numChildren > 0 {
                obstacle = "\(name) has children: remove it"
                return nil
            }
            var move = Move(from: tree.item(name), version: node.stat.version, store: store)
            // What is no message moves too, under its own name: nothing may be left.
            let data = item == nil ? node.data : Envelope.restored(node.data)
            move.messages = [.init(path: tree.earlier(item?.string ?? name), data: data)]
            if !fits([move]) {
                obstacle = "\(name) is larger than this client's maximumRequestSize"
                return nil
            }
            return move
        }
        return (moves, obstacle)
    }
}
