import Logging
import ZooKeeper

/// Forgets the ids of messages when their time is over.
///
/// Ids stand in buckets. The queue remembers an id as long as its bucket is the current or the previous one. When the
/// current bucket is old enough, this duty begins another, and it removes the buckets that no producer looks at any
/// more. Each transaction names the version of `ids` that was read, so it fails when another recovery has begun a
/// bucket meanwhile, and no transaction removes an id that is still remembered.
struct DeduplicationExpiry: RecoveryDuty {
    let queue: MessageQueue
    let ages: NodeAges
    private(set) var report = RecoveryReport()

    /// How long this duty may keep the recovery from the next pass.
    private static let timeLimit = Duration.seconds(5)

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }

    mutating func run() async throws {
        do {
            try await expire()
        } catch let error as ZooKeeperError where !error.isPassing && error.code != .closed {
            logFailure(error)
        } catch let error as QueueError {
            logFailure(error)
        }
    }

    /// Logs what keeps ids in the tree. It is no reason for the pass to fail: the queue works, and its tree grows.
    private func logFailure(_ error: any Error) {
        queue.logger.error(
            "Ids of the queue's messages cannot be forgotten", metadata: ["queue": "\(queue.path)", "why": "\(error)"])
    }

    private mutating func expire() async throws {
        guard let node = try await queue.reader.node(tree.ids) else { return }
        let buckets = try await nextBuckets(after: try IDBuckets(node), node.stat)
        let end = store.now + Self.timeLimit
        for name in try await queue.reader.names(tree.ids) where !buckets.remembers(name) {
            guard try await remove(name, buckets, until: end) else { return }
        }
    }

    /// Begins another bucket when the current one is old enough and an id is there to forget.
    ///
    /// - Returns: the buckets from here on.
    private func nextBuckets(after buckets: IDBuckets, _ stat: Stat) async throws -> IDBuckets {
        let retention = try await queue.attributes.read().idRetention ?? queue.settings.idRetention
        guard ages.hasExpired(tree.ids, stat, since: stat.mtime, after: retention), try await holdIDs(buckets) else {
            return buckets
        }
        let acl = try await store.aclEntries(of: tree.items)
        try await store.attempt(buckets.next(in: tree, acl: acl), tolerating: .badVersion, .nodeExists)
        return try IDBuckets(try await store.get(tree.ids))
    }

    private func holdIDs(_ buckets: IDBuckets) async throws -> Bool {
        for number in buckets.numbers where try await store.exists(tree.idBucket(number))?.numChildren ?? 0 > 0 {
            return true
        }
        return false
    }

    /// Removes the ids of a bucket, and then the bucket.
    ///
    /// - Returns: `false` when the time is over, or another recovery has begun a bucket.
    private mutating func remove(_ bucket: String, _ buckets: IDBuckets, until end: Duration) async throws -> Bool {
        let path = tree.ids + "/" + bucket
        var rest = try await queue.reader.usableNames(path)[...]
        while !rest.isEmpty {
            let deletions = rest.prefix(MessageMover.batchSize).map { [Operation.delete("\(path)/\($0)")] }
            // An outdated view might take the current bucket for one that is no longer remembered.
            let outcome = try await queue.writer.apply(deletions, guardedBy: [buckets.check(in: tree)])
            report.idsForgotten += outcome.done
            guard outcome.isComplete else { return false }
            rest = rest.dropFirst(MessageMover.batchSize)
            if store.now >= end { return false }
        }
        try await store.attempt(
            [buckets.check(in: tree), .delete(path)], tolerating: .noNode, .notEmpty, .badVersion)
        return true
    }
}
