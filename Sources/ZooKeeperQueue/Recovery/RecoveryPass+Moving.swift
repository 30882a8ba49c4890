import Logging
import ZooKeeper

/// How a recovery moves messages: many with one multi, each as long as it is still where it was.
extension RecoveryPass {
    /// The way of a node's messages from one place to others.
    struct Move {
        struct Message {
            var path: String
            let data: [UInt8]?
        }
        let from: String
        let version: Int32
        let store: any ZooKeeperStore
        var messages: [Message] = []
        /// Why they go to the dead letters.
        var cause: String?

        var operations: [Operation] {
            [.delete(from, version: version)]
                + messages.flatMap { message in
                    guard let cause else { return [Operation.create(message.path, data: message.data)] }
                    return DeadLetter.operations(
                        at: message.path, data: message.data ?? [], cause: cause, in: store)
                }
        }

        /// A name is taken, by a message from before the server's counter began anew.
        mutating func takeNextName(ofOperation index: Int) {
            let index = (index - 1) / (cause == nil ? 1 : 2)
            guard messages.indices.contains(index) else { return }
            let path = messages[index].path
            let name = NodePath.name(of: path)
            let next = ItemName(name).map { $0.with(returns: $0.returns + 1).string } ?? "\(name)-\(UniqueName.make())"
            messages[index].path = path.dropLast(name.count) + next
        }
    }

    /// ZooKeeper refuses something that no message is at fault for.
    struct FolderRefusal: Error {
        let cause: ZooKeeperError
    }

    /// A failed consumer as it was read. Should it have been registering and do more meanwhile, its version tells.
    struct FailedConsumer {
        let paths: ConsumerPaths
        let version: Int32
        let progress: LeaseProgress
    }

    /// What must hold when messages are moved.
    enum Guard {
        case nothing
        /// The consumer that they belong to has failed. Each multi creates its ephemeral node and deletes it again, which
        /// fails while the consumer lives: a living consumer can never be robbed.
        case consumer(FailedConsumer)
        /// Their new names mean what they should.
        case epoch(SequenceEpoch)

        func around(_ operations: [Operation], in tree: QueueTree) -> (before: Int, operations: [Operation]) {
            switch self {
            case .nothing: return (0, operations)
            case .consumer(let consumer):
                let active = consumer.paths.active
                let before: [Operation] = [
                    .create(active, data: []), .check(consumer.paths.path, version: consumer.version),
                ]
                return (before.count, before + operations + [.delete(active)])
            case .epoch(let epoch): return (1, [epoch.check(in: tree)] + operations)
            }
        }
    }

    func moves(
        _ names: [String], from path: (String) -> String, _ make: (String, Node) -> Move?
    ) async throws -> [Move] {
        zip(names, try await queue.readUsable(names.map(path))).compactMap { name, node in
            node.flatMap { make(name, $0) }
        }
    }

    /// Moves the messages, as many as are still where they were.
    ///
    /// - Returns: how many; and whether to go on: what must hold did so.
    func apply(_ moves: [Move], guardedBy guardian: Guard) async throws -> (isComplete: Bool, count: Int) {
        var rest = moves
        var count = 0
        while !rest.isEmpty {
            var batch = fitting(rest)
            let (before, operations) = guardian.around(batch.flatMap(\.operations), in: tree)
            do {
                _ = try await store.multi(operations)
                limit.pass(of: store.maximumRequestSize)
                for move in batch { queue.skipped.handled(move.from) }
                count += batch.reduce(0) { $0 + $1.messages.count }
                rest.removeFirst(batch.count)
            } catch let error as ZooKeeperError {
                if error.outcome == .unknown {
                    // The next pass finds out, with less at a time where the server breaks off what is large.
                    if error.code == .connectionLoss { noteBreak(at: batch, operations) }
                    return (true, count)
                }
                guard let index = error.operationIndex else {
                    guard batch.count == 1, error.concernsOneNode else { throw error }
                    queue.skipped.skip(batch[0].from, error)
                    rest.removeFirst()
                    continue
                }
                if index < before {
                    // The consumer lives, or its node is gone, or has changed; or the epoch is over.
                    if [.nodeExists, .noNode, .badVersion].contains(error.code) { return (false, count) }
                    throw error.code == .quotaExceeded ? FolderRefusal(cause: error) : error
                }
                guard let (failed, place) = Self.place(of: index - before, batch.map(\.operations.count)) else {
                    throw error
                }
                if error.code == .nodeExists {
                    batch[failed].takeNextName(ofOperation: place)
                    rest[failed] = batch[failed]
                } else if error.code == .noNode, place > 0, try await queue.restoreMissingFolders() {
                    // The target folder had been removed.
                } else if error.code == .noNode || error.code == .badVersion {
                    rest.remove(at: failed)
                } else if error.concernsOneNode {
                    queue.skipped.skip(batch[failed].from, error)
                    rest.remove(at: failed)
                } else {
                    // Where messages go to, or what the ensemble allows, is no fault of the message.
                    throw place > 0 || error.code == .quotaExceeded ? FolderRefusal(cause: error) : error
                }
            }
        }
        return (true, count)
    }

    /// Which move an operation belongs to, and its place there.
    private static func place(of index: Int, _ counts: [Int]) -> (move: Int, operation: Int)? {
        var start = 0
        for (move, count) in counts.enumerated() {
            if index < start + count { return (move, index - start) }
            start += count
        }
        return nil
    }

    /// Returns as many of the first ones as fit into one multi, at least one.
    private func fitting(_ moves: [Move]) -> [Move] {
        var (bytes, count) = (0, 0)
        for move in moves.prefix(store.countThatFits(moves.lazy.map(\.operations))) {
            bytes += size(of: move.operations)
            if !limit.allows(bytes) { break }
            count += 1
        }
        return Array(moves.prefix(max(1, count)))
    }

    private func size(of operations: [Operation]) -> Int { operations.reduce(0) { $0 + store.size(of: $1) } }

    /// Notes that the connection broke at a transaction, which may be larger than the server allows.
    private func noteBreak(at batch: [Move], _ operations: [Operation]) {
        let bytes = size(of: operations)
        guard bytes > ClaimLimit.smallestServerLimit else { return }
        if batch.count > 1 { return limit.shrink(from: bytes) }
        queue.skipped.skip(batch[0].from, .brokenOff(bytes: bytes))
    }

    /// Whether the moves go into one multi.
    func fits(_ moves: [Move]) -> Bool { store.countThatFits(moves.lazy.map(\.operations)) == moves.count }
}
