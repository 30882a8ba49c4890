import ZooKeeper
import ZooKeeperQueue

/// The paths of the nodes that jobs need beside the queue's own. They are a wire format.
struct JobTree: Sendable, Hashable {
    let root: String

    init(_ queue: MessageQueue) { root = queue.path + "/jobs" }

    /// The locks of unique jobs, in 256 folders.
    var unique: String { root + "/unique" }
    /// The batches that have unfinished jobs.
    var batches: String { root + "/batches" }
    /// The last tick of each schedule.
    var schedules: String { root + "/schedules" }
    /// What each worker runs.
    var workers: String { root + "/workers" }
    /// Its modification time says when a worker last looked for expired nodes.
    var sweep: String { root + "/sweep" }

    func lock(_ name: UniqueLock.Name) -> String { "\(unique)/\(name.folder)/\(name.node)" }
    func lockFolder(_ name: UniqueLock.Name) -> String { "\(unique)/\(name.folder)" }
    func batch(_ id: String) -> String { "\(batches)/\(id)" }
    /// How many shards of a batch have unfinished jobs.
    func openShards(ofBatch id: String) -> String { "\(batch(id))/open" }
    /// How many jobs of a shard are unfinished.
    func shard(_ membership: StoredJob.Membership) -> String { "\(batch(membership.batch))/\(membership.shard)" }
    func schedule(_ name: String) -> String { "\(schedules)/\(name)" }
    func worker(_ name: String) -> String { "\(workers)/\(name)" }
}

extension ZooKeeperStore {
    /// Creates a folder of the jobs and its ancestors below the queue's root, which must exist.
    func createJobFolder(_ path: String, below root: String) async throws {
        let parts = path.dropFirst(root.utf8.count).split(separator: "/")
        for count in 1...max(1, parts.count) {
            try await createIfMissing(root + "/" + parts.prefix(count).joined(separator: "/"))
        }
    }

    /// Reads a node; `nil` when there is none.
    func getIfPresent(_ path: String) async throws -> Node? { try await get([path])[0] }
}
