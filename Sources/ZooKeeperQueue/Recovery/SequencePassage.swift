import Logging
import ZooKeeper

/// The passage to a new epoch of the server's numbers: `items` is made anew, and what stood in it moves to `earlier`.
///
/// Every step is one multi, so that a message is never in two places, or in none. Consumers know both places, and their order
/// is that of priority, epoch and number wherever a message stands. Only an empty node can be made anew, so the last few
/// messages move in the same multi; for that moment producers are asked to wait. A producer that does not ask, an older or a
/// foreign one, is never in the way: what it creates comes before that multi, which then fails and is tried again, or after
/// it.
extension RecoveryPass {
    /// How long producers wait at most for an attempt. They go on by themselves after a second.
    private static let longestClosing = Duration.milliseconds(500)
    /// How long a long queue may keep the recovery from its other duties.
    private static let longestMoving = Duration.seconds(10)
    /// With a delete and a create each, about half of what one multi may have.
    private static let lastMoves = 300
    /// Multis under way at a time while a long queue moves.
    private static let movesAtOnce = 8

    /// Makes `items` anew when its numbers near their end.
    mutating func passToNextEpoch() async throws {
        guard let items = try await store.exists(tree.items), items.childrenCreated >= queue.settings.sequenceLimit
        else {
            return
        }
        var epoch = try await queue.sequenceEpoch()
        if epoch.phase == .open {
            guard let moving = try await change(epoch, to: .moving) else { return }
            epoch = moving
        }
        guard try await moveAllButTheLast(epoch), let closing = try await change(epoch, to: .closing) else { return }
        let end = store.now + Self.longestClosing
        while store.now < end, !Task.isCancelled {
            if try await moveTheLast(closing) {
                report.epochsBegun += 1
                let number = "\(closing.number + 1)"
                queue.logger.notice("The numbers of the queue's messages begin anew", metadata: ["epoch": "\(number)"])
                return
            }
        }
        // Too much comes from those who do not wait: the next pass tries again.
        _ = try await change(closing, to: .moving)
    }

    /// - Returns: the epoch as it stands now; `nil` when somebody else has changed it, and the next pass looks again.
    private func change(_ epoch: SequenceEpoch, to phase: SequenceEpoch.Phase) async throws -> SequenceEpoch? {
        try await ignoring(.badVersion) { _ = try await store.multi([epoch.change(to: phase, in: tree)]) }
        let current = try await queue.sequenceEpoch()
        return current.number == epoch.number && current.phase == phase ? current : nil
    }

    /// Moves what stands in `items`, the newest first: consumers are at work on the oldest.
    ///
    /// - Returns: whether so few are left that one multi can move them.
    private func moveAllButTheLast(_ epoch: SequenceEpoch) async throws -> Bool {
        let end = store.now + Self.longestMoving
        while true {
            var names = try await readyNames(epoch).sorted { $1 < $0 }.map(\.untagged)[...]
            if names.count <= Self.lastMoves { return true }
            while !names.isEmpty {
                try Task.checkCancellation()
                if store.now >= end { return false }
                let some = names.prefix(Self.batchSize * Self.movesAtOnce)
                names = names.dropFirst(some.count)
                let isComplete = try await withThrowingTaskGroup(of: Bool.self) { group in
                    for start in stride(from: some.startIndex, to: some.endIndex, by: Self.batchSize) {
                        let batch = Array(some[start..<min(start + Self.batchSize, some.endIndex)])
                        group.addTask { [self] in
                            let moves = try await departures(batch, epoch).moves
                            return try await apply(moves, guardedBy: .epoch(epoch)).isComplete
                        }
                    }
                    return try await group.reduce(true) { $0 && $1 }
                }
                // Somebody else is at it.
                guard isComplete else { return false }
            }
        }
    }

    /// Makes `items` anew, with the messages that are left in it moved in the same multi.
    ///
    /// - Returns: whether it is done.
    private func moveTheLast(_ epoch: SequenceEpoch) async throws -> Bool {
        guard let node = try await node(tree.items) else { return false }
        let names = try await store.children(of: tree.items).names
        let (moves, isComplete) = try await departures(Array(names.prefix(Self.lastMoves)), epoch)
        guard isComplete, names.count <= Self.lastMoves, fitting(moves).count == moves.count else {
            _ = try await apply(moves, guardedBy: .epoch(epoch))
            return false
        }
        do {
            _ = try await store.multi(
                [epoch.change(to: .open, number: epoch.number &+ 1, in: tree)] + moves.flatMap(\.operations)
                    + [.delete(tree.items), .create(tree.items, data: node.data)])
            return true
        } catch let error as ZooKeeperError where error.operationIndex != nil || error.outcome == .unknown {
            // Something came, was taken, or has changed; or the answer was lost.
            return try await queue.sequenceEpoch().number != epoch.number
        }
    }

    private func readyNames(_ epoch: SequenceEpoch) async throws -> [ItemName] {
        try await store.children(of: tree.items).names.compactMap { ItemName($0, inEpoch: epoch.number) }
    }

    /// - Returns: the moves, and whether all of the names can move now. An older producer creates a message empty and fills it
    ///   with a second write, which must find it where it was; and a node with children is none of ours.
    private func departures(_ names: [String], _ epoch: SequenceEpoch) async throws -> (moves: [Move], isComplete: Bool)
    {
        var isComplete = true
        let moves = try await moves(names, from: tree.item) { name, node in
            let item = ItemName(name, inEpoch: epoch.number)
            let isUnfilled = item != nil && node.data?.isEmpty ?? true && node.stat.version == 0
            if isUnfilled || node.stat.numChildren > 0 {
                isComplete = false
                if !isUnfilled {
                    queue.logger.error(
                        "A node with children keeps the items from being made anew: remove it",
                        metadata: ["node": "\(tree.item(name))"])
                }
                return nil
            }
            var move = Move(from: tree.item(name), version: node.stat.version)
            // What is no message moves too, under its own name: nothing may be left.
            move.messages = [
                .init(
                    path: tree.earlier(item?.string ?? name),
                    data: item == nil ? node.data : Envelope.restored(node.data))
            ]
            return move
        }
        return (moves, isComplete)
    }
}
