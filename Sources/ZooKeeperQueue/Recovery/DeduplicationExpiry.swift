import Logging
import ZooKeeper

/// Expires deduplication IDs at the end of the deduplication window.
///
/// IDs are stored in buckets. The queue remembers an ID as long as its bucket is the current or the previous one. When
/// the current bucket is old enough, this duty begins another one. It also removes the buckets that no producer checks
/// any more. Each transaction checks the version of `ids` that was read. So it fails when another recovery has begun a
/// bucket in the meantime, and no transaction removes an ID that the queue still remembers.
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
        } catch let error as ZooKeeperError where !error.isRetryable && error.code != .closed {
            logFailure(error)
        } catch let error as QueueError {
            logFailure(error)
        }
    }

    /// Logs why IDs stay in the tree. The pass does not fail, because the queue works, and only its tree grows.
    private func logFailure(_ error: any Error) {
        queue.logger.error(
            "Could not expire deduplication IDs", metadata: ["queue": "\(queue.path)", "error": "\(error)"])
    }

    private mutating func expire() async throws {
        guard let node = try await queue.reader.node(tree.ids) else { return }
        let buckets = try await nextBuckets(after: try DeduplicationBuckets(node), node.stat)
        let end = store.now + Self.timeLimit
        for name in try await queue.reader.names(tree.ids) where !buckets.remembers(name) {
            guard try await remove(name, buckets, until: end) else { return }
        }
    }

    /// Begins another bucket when the current one is old enough and there are IDs to expire.
    ///
    /// - Returns: the buckets from now on.
    private func nextBuckets(after buckets: DeduplicationBuckets, _ stat: Stat) async throws -> DeduplicationBuckets {
        let window = try await queue.attributeStore.read().deduplicationWindow
        guard ages.hasExpired(tree.ids, stat, since: stat.mtime, after: window), try await holdIDs(buckets) else {
            return buckets
        }
        let acl = try await store.aclEntries(of: tree.items)
        try await store.attempt(buckets.next(in: tree, acl: acl), tolerating: .badVersion, .nodeExists)
        return try DeduplicationBuckets(try await store.get(tree.ids))
    }

    private func holdIDs(_ buckets: DeduplicationBuckets) async throws -> Bool {
        for number in buckets.numbers where try await store.exists(tree.idBucket(number))?.numChildren ?? 0 > 0 {
            return true
        }
        return false
    }

    /// Removes the IDs of a bucket, and then the bucket.
    ///
    /// - Returns: `false` when the time limit has passed, or another recovery has begun a bucket.
    private mutating func remove(_ bucket: String, _ buckets: DeduplicationBuckets, until end: Duration) async throws
        -> Bool
    {
        let path = tree.ids + "/" + bucket
        var rest = try await queue.reader.usableNames(path)[...]
        while !rest.isEmpty {
            let deletions = rest.prefix(MessageMover.batchSize).map { [ZooKeeperOperation.delete("\(path)/\($0)")] }
            // The guard is needed, because an outdated view might take the current bucket for an expired one.
            let outcome = try await queue.writer.apply(deletions, guardedBy: [buckets.check(in: tree)])
            report.deduplicationIDsExpired += outcome.done
            guard outcome.isComplete else { return false }
            rest = rest.dropFirst(MessageMover.batchSize)
            if store.now >= end { return false }
        }
        try await store.attempt(
            [buckets.check(in: tree), .delete(path)], tolerating: .noNode, .notEmpty, .badVersion)
        return true
    }
}
