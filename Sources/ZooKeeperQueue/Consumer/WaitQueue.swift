import ZooKeeper

/// The wait queue of idle consumers, in which a message wakes one consumer instead of all of them.
///
/// A position is an ephemeral node, named by a ticket and by its consumer. The first consumer watches the items, and
/// every other one watches the position before its own, as in ZooKeeper's recipe for locks. A ticket is one more than
/// the largest ticket seen, also of the consumer's earlier positions: a late reply that concerns one of them must not be
/// taken for one about the current position. Two consumers may draw the same ticket, and then their names decide. When
/// two consumers consider themselves the first, both try to claim a message, and one of them gets it.
///
/// https://zookeeper.apache.org/doc/r3.8.0/recipes.html#sc_recipes_Locks
struct WaitQueue {
    let queue: MessageQueue
    /// The name of the consumer's registration.
    let consumer: String

    /// How long a consumer waits for messages before it enters the wait queue.
    static let idleTime = Duration.seconds(1)

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    /// Enters the wait queue at its end, or finds the position from an earlier attempt whose reply was lost.
    ///
    /// - Parameter former: the consumer's last position.
    ///
    /// After a lost reply, it does not give up before it has found the position, because the position would stay until
    /// the session ends, and no consumer would know it.
    func join(after former: String?) async throws -> String {
        var (mustSync, mayExist) = (false, false)
        while true {
            do {
                // Read the positions again once this server has caught up with the earlier writes.
                if mustSync { try await store.sync(tree.idle) }
                let positions = try await positions()
                if let own = positions.first(where: { $0.hasSuffix("-" + consumer) }) { return own }
                let last = (positions + [former].compactMap { $0 }).compactMap(Self.ticket).max() ?? 0
                let position = Self.name(min(last, .max - 1) + 1, consumer)
                (mustSync, mayExist) = (true, false)
                do {
                    _ = try await store.create(tree.idle(position), data: [], mode: .ephemeral)
                    return position
                } catch let error as ZooKeeperError where error.outcome == .unknown {
                    mayExist = true
                }
            } catch let error as ZooKeeperError where error.code == .noNode {
                // The queue is older than the wait queue, or another client has removed the folder.
                try await queue.folders.restoreMissing()
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // Another client has created it, or a server was behind.
            } catch let error as ZooKeeperError where mayExist && error.isRetryable {
                await error.pauseIfRefusedAtOnce(store)
            }
        }
    }

    /// Waits until the position is the first, or until it is the second and messages are ready that the first
    /// consumer leaves unclaimed.
    ///
    /// - Returns: `false` when the position is gone.
    func untilFirst(_ position: String) async throws -> Bool {
        while true {
            let positions = try await positions()
            guard let index = positions.firstIndex(of: position) else { return false }
            if index == 0 { return true }
            // The second consumer checks the items now and then, because the first one may hang or its position
            // may belong to no consumer.
            let predecessor = positions[index - 1]
            if try await !isGone(predecessor, within: index == 1 ? Self.checkInterval : nil) {
                for folder in [tree.items, tree.earlier] {
                    if try await store.exists(folder)?.numChildren ?? 0 > 0 { return true }
                }
            }
            try Task.checkCancellation()
        }
    }

    /// How often the second consumer checks whether the first one leaves messages unclaimed.
    private static let checkInterval = Duration.seconds(10)

    private func isGone(_ position: String, within limit: Duration?) async throws -> Bool {
        let (store, path, skipped) = (store, tree.idle(position), queue.skipped)
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    for try await node in store.dataUpdatesUntilDeleted(of: path) {
                        guard let node else { break }
                        if node.stat.ephemeralOwner == 0 {
                            // It belongs to no session, so it would stay for ever.
                            skipped.skip(path, .notEphemeral)
                            break
                        }
                    }
                } catch let error as ZooKeeperError where error.isRefusal {
                    skipped.skip(path, error)
                }
                return true
            }
            if let limit {
                group.addTask {
                    try await store.sleep(for: limit)
                    return false
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? true
        }
    }

    /// Whether another consumer is in the wait queue.
    func hasOtherConsumers() async throws -> Bool {
        for position in try await positions() where !position.hasSuffix("-" + consumer) {
            guard let stat = try await queue.reader.usableStat(tree.idle(position)) else { continue }
            if stat.ephemeralOwner != 0 { return true }
            queue.skipped.skip(tree.idle(position), .notEphemeral)
        }
        return false
    }

    /// Gives up the position. The session's end would remove it too, but until then it would keep other
    /// consumers from becoming the first.
    func leave(_ position: String) async throws {
        do {
            try await store.delete(tree.idle(position), version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // The session's end has removed it, or an attempt whose reply was lost.
        }
    }

    /// Gives up every position of the consumer, which is leaving the tree.
    func leaveEvery() async throws {
        for position in try await store.children(of: tree.idle).names where position.hasSuffix("-" + consumer) {
            try await leave(position)
        }
    }

    /// Returns the positions in order, without nodes that are not positions.
    private func positions() async throws -> [String] {
        let names = try await store.children(of: tree.idle).names
        return queue.skipped.usable(names, in: tree.idle).filter { name in
            if Self.isPosition(name) { return true }
            queue.skipped.skip(tree.idle(name), .unknownName)
            return false
        }.sorted()
    }

    private static func ticket(_ position: String) -> Int64? {
        position.split(separator: "-").first.flatMap { Int64($0) }
    }

    private static func isPosition(_ name: String) -> Bool {
        let parts = name.split(separator: "-", maxSplits: 1)
        return parts.count == 2 && parts[0].utf8.count == 19 && Int64(parts[0]) != nil
            && parts[1].utf8.starts(with: "consumer-".utf8)
    }

    private static func name(_ ticket: Int64, _ consumer: String) -> String {
        let digits = String(ticket)
        return String(repeating: "0", count: max(0, 19 - digits.utf8.count)) + digits + "-" + consumer
    }
}
