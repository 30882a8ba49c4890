import ZooKeeper

/// Moves messages for the recovery's duties, many with one transaction, each only if it is still at its old path.
///
/// A transaction deletes each node at the version that was read, creates its messages elsewhere, and checks a condition
/// (``MoveGuard``). So a message is never in two places or in none, and of two concurrent recoveries only one moves it.
/// A recovery keeps one mover for all its passes, because the mover learns how large a transaction the server accepts.
struct MessageMover: Sendable {
    /// The outcome of the moves.
    struct Outcome {
        /// `true` unless the guard no longer holds, in which case the caller must stop.
        var isComplete = true
        /// Whether the reply to a transaction was lost, which may have moved further messages.
        var isUncertain = false
        /// How many messages were moved, or deleted.
        var count = 0
    }

    private let queue: MessageQueue
    private let limit = SharedLimit()

    /// How many nodes the duties handle at a time.
    static let batchSize = 100

    init(_ queue: MessageQueue) { self.queue = queue }

    private var store: any ZooKeeperStore { queue.store }

    /// Reads the nodes, and makes a move of each node that exists. Skips a node that ZooKeeper refuses to return.
    func moves(
        _ names: [String], from path: (String) -> String, _ make: (String, Node) -> MessageMove?
    ) async throws -> [MessageMove] {
        zip(names, try await queue.reader.readUsable(names.map(path))).compactMap { name, node in
            node.flatMap { make(name, $0) }
        }
    }

    /// Moves the messages that are still at their old paths.
    ///
    /// - Throws: ``FolderRefusal``; `ZooKeeperError`.
    func apply(_ moves: [MessageMove], guardedBy moveGuard: MoveGuard) async throws -> Outcome {
        var rest = moves
        var outcome = Outcome()
        while !rest.isEmpty {
            let batch = fitting(rest)
            let (before, operations) = moveGuard.around(batch.flatMap(\.operations), in: queue.tree)
            do {
                _ = try await store.multi(operations)
                limit.pass(of: store.maximumRequestSize)
                for move in batch { queue.skipped.handled(move.from) }
                outcome.count += batch.reduce(0) { $0 + $1.count }
                rest.removeFirst(batch.count)
            } catch let error as ZooKeeperError {
                if error.outcome == .unknown {
                    // The next pass determines the outcome. It moves fewer messages at a time if the
                    // transaction was too large.
                    if error.code == .connectionLoss { recordBreak(at: batch, operations) }
                    outcome.isUncertain = true
                    return outcome
                }
                guard let index = error.operationIndex else {
                    guard batch.count == 1, error.concernsOneNode else { throw error }
                    queue.skipped.skip(batch[0].from, error)
                    rest.removeFirst()
                    continue
                }
                if index < before {
                    // The consumer lives, its node is gone or has changed, or the epoch has changed.
                    if [.nodeExists, .noNode, .badVersion].contains(error.code) {
                        outcome.isComplete = false
                        return outcome
                    }
                    throw error.code == .quotaExceeded ? FolderRefusal(cause: error) : error
                }
                guard let (failed, operation) = Self.location(of: index - before, batch.map(\.operations.count)) else {
                    throw error
                }
                try await resolve(error, at: operation, ofMove: failed, in: &rest)
            }
        }
        return outcome
    }

    /// Changes or removes the move that ZooKeeper refused, so that the others can be tried again.
    ///
    /// - Parameter operation: the index of the refused operation in its move. The first operation deletes the node.
    /// - Throws: the refusal when it does not concern this message alone.
    private func resolve(
        _ error: ZooKeeperError, at operation: Int, ofMove failed: Int, in rest: inout [MessageMove]
    ) async throws {
        if rest[failed].concernsGroup(operation), GroupSuccession.Outdated.codes.contains(error.code) {
            // The next pass reads the group again.
            rest[failed].succession?.note(error, in: queue)
            rest.remove(at: failed)
        } else if error.code == .nodeExists, operation > 0 {
            guard rest[failed].takeNextName(ofOperation: operation) else { throw FolderRefusal(cause: error) }
        } else if error.code == .noNode, operation > 0, let slot = rest[failed].slot {
            try await queue.folders.createSlots([slot])
        } else if error.code == .noNode, operation > 0, try await queue.folders.restoreMissing() {
            // The target folder had been removed.
        } else if error.code == .noNode || error.code == .badVersion {
            rest.remove(at: failed)
        } else if error.concernsOneNode {
            queue.skipped.skip(rest[failed].from, error)
            rest.remove(at: failed)
        } else {
            // The refusal concerns the target folder or a limit of the ensemble, and not the message.
            throw operation > 0 || error.code == .quotaExceeded ? FolderRefusal(cause: error) : error
        }
    }

    /// Returns the move that an operation belongs to, and the operation's index in that move.
    private static func location(of index: Int, _ counts: [Int]) -> (move: Int, operation: Int)? {
        var start = 0
        for (move, count) in counts.enumerated() {
            if index < start + count { return (move, index - start) }
            start += count
        }
        return nil
    }

    // MARK: Sizes

    /// Whether all the moves fit into one transaction.
    func fits(_ moves: [MessageMove]) -> Bool { store.countThatFits(moves.lazy.map(\.operations)) == moves.count }

    /// Returns as many of the first moves as fit into one transaction, at least one.
    private func fitting(_ moves: [MessageMove]) -> [MessageMove] {
        var (bytes, count) = (0, 0)
        for move in moves.prefix(store.countThatFits(moves.lazy.map(\.operations))) {
            bytes += size(of: move.operations)
            if !limit.allows(bytes) { break }
            count += 1
        }
        return Array(moves.prefix(max(1, count)))
    }

    private func size(of operations: [ZooKeeperOperation]) -> Int { operations.reduce(0) { $0 + store.size(of: $1) } }

    /// Records that the connection broke at a transaction, which may be larger than the server allows.
    private func recordBreak(at batch: [MessageMove], _ operations: [ZooKeeperOperation]) {
        let bytes = size(of: operations)
        guard bytes > ClaimLimit.smallestServerLimit else { return }
        if batch.count > 1 { return limit.shrink(from: bytes) }
        queue.skipped.skip(batch[0].from, .connectionClosed(bytes: bytes))
    }
}
