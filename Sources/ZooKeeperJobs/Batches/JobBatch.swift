public import ZooKeeperQueue

/// Jobs that belong together: when all of them are done, one more job is stored.
public struct JobBatch: Sendable, Hashable {
    /// The batch's ID.
    public let id: String
    /// The receipts of its jobs, in their order.
    public let jobs: [JobReceipt]

    /// The number of counters of a large batch. More of them would make the last acknowledgements slower, fewer would
    /// make acknowledgements collide more often.
    static let maximumShards = 32
    /// The jobs of a shard, as long as the batch has fewer than ``maximumShards``.
    private static let jobsPerShard = 2

    static func shards(for jobs: Int) -> Int { min(maximumShards, (jobs + jobsPerShard - 1) / jobsPerShard) }
}

/// The progress of a batch.
public struct JobBatchStatus: Sendable, Hashable {
    /// The jobs that are not done yet: waiting, running, to be retried, or dead letters.
    public let unfinished: Int
    /// When the batch expires, by the ensemble's clock, even if it is unfinished.
    public let expiresAt: EnsembleTime
}
