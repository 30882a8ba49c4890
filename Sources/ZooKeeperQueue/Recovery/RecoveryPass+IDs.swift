import Logging
import ZooKeeper

/// Ids of messages are forgotten.
extension RecoveryPass {
    /// How long ids may keep the recovery from its other duties.
    private static let longestForgetting = Duration.seconds(5)

    /// Begins another bucket of ids when the present one is old enough, and removes those that are no longer looked at, one step
    /// after the other. An id is remembered as long as its bucket is the present or the former one.
    mutating func forgetIDs() async throws {
        do {
            guard let node = try await queue.node(tree.ids) else { return }
            let buckets = try await switched(try IDBuckets(node), node.stat)
            let end = store.now + Self.longestForgetting
            for name in try await children(tree.ids) ?? [] where !buckets.remembers(name) {
                guard try await remove(name, buckets, until: end) else { return }
            }
        } catch let error as ZooKeeperError where !error.isPassing && error.code != .closed {
            // No reason to give up the other duties.
            tellThatIDsStay(error)
        } catch let error as QueueError {
            tellThatIDsStay(error)
        }
    }

    private func tellThatIDsStay(_ error: any Error) {
        queue.logger.error(
            "Ids of the queue's messages cannot be forgotten", metadata: ["queue": "\(queue.path)", "why": "\(error)"])
    }

    /// - Returns: the buckets from here on.
    private mutating func switched(_ buckets: IDBuckets, _ stat: Stat) async throws -> IDBuckets {
        let retention = try await queue.sharedSettings().idRetention ?? queue.settings.idRetention
        guard hasExpired(tree.ids, stat, since: stat.mtime, after: retention), try await holdIDs(buckets) else {
            return buckets
        }
        let acl = try await store.aclEntries(of: tree.items)
        try await ignoring(.badVersion, .nodeExists) { _ = try await store.multi(buckets.next(in: tree, acl: acl)) }
        return try IDBuckets(try await store.get(tree.ids))
    }

    private func holdIDs(_ buckets: IDBuckets) async throws -> Bool {
        for number in buckets.numbers where try await store.exists(tree.idBucket(number))?.numChildren ?? 0 > 0 {
            return true
        }
        return false
    }

    /// - Returns: whether to go on: nobody has made another bucket the present one, and there is time.
    private mutating func remove(_ bucket: String, _ buckets: IDBuckets, until end: Duration) async throws -> Bool {
        let path = tree.ids + "/" + bucket
        var rest = queue.skipped.usable(try await children(path) ?? [], in: path)[...]
        while !rest.isEmpty {
            let deletes = rest.prefix(Self.batchSize).map { [Operation.delete("\(path)/\($0)")] }
            // A stale view might show the current bucket here.
            let outcome = try await queue.applyAll(deletes, guardedBy: [buckets.check(in: tree)])
            report.idsForgotten += outcome.done
            guard outcome.isComplete else { return false }
            rest = rest.dropFirst(Self.batchSize)
            if store.now >= end { return false }
        }
        try await ignoring(.noNode, .notEmpty, .badVersion) {
            _ = try await store.multi([buckets.check(in: tree), .delete(path)])
        }
        return true
    }
}
