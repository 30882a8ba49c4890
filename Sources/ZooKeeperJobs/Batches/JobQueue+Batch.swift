import CoreMetrics
import ZooKeeperQueue
import ZooKeeper

extension JobQueue {
    /// Stores jobs, and one more job when all of them are done: exactly once, in the transaction of the last
    /// acknowledgement.
    ///
    /// A job is done when it is acknowledged. A job that becomes a dead letter holds the batch up until it is redriven
    /// and succeeds. A job that is cancelled, purged or deleted because it expired is never done.
    ///
    /// ```swift
    /// let pages = (1...20).map { RenderPage(report: 7, page: $0) }
    /// try await jobs.push(batch: pages, then: SendReport(report: 7))
    /// ```
    ///
    /// All jobs are stored in one transaction, so they must fit into one request: about a thousand small jobs.
    ///
    /// - Parameters:
    ///   - batch: the jobs: at least one.
    ///   - last: the job that is stored when all jobs of the batch are done.
    ///   - options: how the jobs of the batch are stored. They can have neither an ``JobOptions/id`` nor
    ///     ``JobOptions/unique``. Default: the options of their type.
    ///   - lastOptions: how the last job is stored. It can have neither of them either, and no delay. Default: the
    ///     options of its type.
    ///   - lifetime: when the batch expires: more than zero, and at most ten years. Jobs that are done later
    ///     are acknowledged as usual, and the last job is not stored. Default: 7 days.
    /// - Returns: the batch's ID, and the receipts of its jobs.
    /// - Throws: ``JobError`` before anything is sent, and ``JobError/Code/contended``; the errors of
    ///   `MessageQueue.transaction`, with `payloadTooLarge` for too many jobs.
    @discardableResult
    public func push<J: Job, Last: Job>(
        batch: some Collection<J> & Sendable, then last: Last, _ options: JobOptions = J.options,
        lastOptions: JobOptions = Last.options, lifetime: Duration = .seconds(7 * 86_400)
    ) async throws -> JobBatch {
        try validate(options, lastOptions, isEmpty: batch.isEmpty, lifetime: lifetime)
        let id = RandomName.make()
        let shards = JobBatch.shards(for: batch.count)
        var encoded: [EncodedJob] = []
        for (index, job) in batch.enumerated() {
            encoded.append(try await encode(job, options, in: .init(batch: id, shard: index % shards)))
        }
        let expiresAt = try await clock.now().advanced(by: lifetime)
        // Validated now, because the last acknowledgement would fail each time.
        let record = BatchRecord(expiresAt: expiresAt, try await message(for: last, lastOptions))
        var operations: [ZooKeeperOperation] = [
            .create(tree.batch(id), data: try record.encoded()),
            .create(tree.openShards(ofBatch: id), data: BatchCount.encode(shards)),
        ]
        for shard in 0..<shards {
            let count = (batch.count - shard + shards - 1) / shards
            operations.append(.create(tree.shard(.init(batch: id, shard: shard)), data: BatchCount.encode(count)))
        }
        for _ in 1...Self.maximumAttempts {
            do {
                let receipts = try await queue.transaction { transaction in
                    for operation in operations { transaction.add(operation) }
                    transaction.send(contentsOf: encoded.map(\.message), to: queue)
                }
                metrics.type(J.name).pushed.increment(by: receipts.count)
                return JobBatch(id: id, jobs: zip(encoded, receipts).map { $0.receipt($1) })
            } catch let error as QueueError where error.code == .operationRefused {
                try await prepare(tree.batches, after: error)
            }
        }
        throw Self.contended
    }

    private func validate(_ options: JobOptions, _ last: JobOptions, isEmpty: Bool, lifetime: Duration) throws {
        let message: String? =
            if isEmpty {
                "A batch must have at least one job."
            } else if options.id != nil || options.unique != nil || last.id != nil || last.unique != nil {
                "The jobs of a batch cannot have IDs or be unique."
            } else if last.delay != .zero || last.deliverAt != nil {
                "The last job of a batch cannot be delayed."
            } else if lifetime <= .zero || lifetime > JobName.longestTime {
                "The lifetime of a batch must be more than zero, and at most ten years."
            } else {
                nil
            }
        if let message { throw JobError(.invalidJob, message) }
    }

    /// Returns a batch's progress; `nil` when it has finished or expired.
    ///
    /// Not an atomic snapshot.
    ///
    /// - Throws: `QueueError`.
    public func status(ofBatch id: String) async throws -> JobBatchStatus? {
        guard NodeName.isPlain(id) else { return nil }
        return try await translating("reading a batch") {
            guard let node = try await queue.store.getIfPresent(tree.batch(id)), let record = BatchRecord(node.data)
            else { return nil }
            let shards = (0..<JobBatch.maximumShards).map { tree.shard(.init(batch: id, shard: $0)) }
            let counts = try await queue.store.get(shards).map { BatchCount.decode($0?.data) ?? 0 }
            return JobBatchStatus(unfinished: counts.reduce(0, +), expiresAt: record.expiresAt)
        }
    }

    /// What a batch needs in the transaction that acknowledges one of its jobs.
    struct BatchStep: Sendable {
        var operations: [ZooKeeperOperation] = []
        var last: OutgoingMessage?
    }

    /// Returns the step that counts a job as done. It does nothing when the batch is forgotten or damaged.
    ///
    /// The counter of the job's shard goes down by one. With the last job of a shard, the shard's node is removed, and
    /// the number of open shards goes down. With the last shard, the whole batch is removed, and its last job is
    /// stored. Each operation names the version that was read, so two acknowledgements cannot count as one.
    ///
    /// - Parameter deletesBatch: whether the last job removes the batch's node. A foreign child would prevent that; the
    ///   node is then left to its expiry.
    func finish(_ membership: StoredJob.Membership, deletesBatch: Bool) async throws -> BatchStep {
        let (shard, open) = (tree.shard(membership), tree.openShards(ofBatch: membership.batch))
        let batch = tree.batch(membership.batch)
        return try await translating("reading a batch") {
            let nodes = try await queue.store.get([shard, open])
            guard let shardNode = nodes[0], let openNode = nodes[1], let left = BatchCount.decode(shardNode.data),
                let openShards = BatchCount.decode(openNode.data)
            else { return BatchStep() }
            if left > 1 {
                return BatchStep(operations: [
                    .set(shard, data: BatchCount.encode(left - 1), version: shardNode.stat.version)
                ])
            }
            let removal = ZooKeeperOperation.delete(shard, version: shardNode.stat.version)
            if openShards > 1 {
                let count = BatchCount.encode(openShards - 1)
                return BatchStep(operations: [removal, .set(open, data: count, version: openNode.stat.version)])
            }
            guard let record = BatchRecord(try await queue.store.getIfPresent(batch)?.data),
                record.expiresAt > (try await clock.now())
            else { return BatchStep() }
            let removals = [removal, .delete(open, version: openNode.stat.version)]
            return BatchStep(operations: deletesBatch ? removals + [.delete(batch)] : removals, last: record.message)
        }
    }
}
