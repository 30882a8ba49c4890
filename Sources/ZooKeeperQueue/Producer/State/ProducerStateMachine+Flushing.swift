import ZooKeeper

/// Sends waiting messages.
extension ProducerStateMachine {
    /// Sends waiting messages, as far as the producer's sequence allows, or begins the
    /// maintenance that must come first.
    mutating func flush(now: Duration) {
        if maintenance != nil { return }
        if needsMaintenance {
            if lane.hasLanded { beginMaintenance() }
            return
        }
        admit(now: now)
        while let batch = lane.nextBatch(overhead: BatchPlan.overhead) {
            switch plan(for: batch) {
            case .success(let plan):
                inFlight += 1
                emit(.send(plan))
            case .failure(let error):
                // The maintenance obtains what is missing.
                _ = lane.landed(batch.version, .failure(error))
                return flush(now: now)
            }
        }
        if lane.isStuck { beginMaintenance() }
    }

    /// Whether later batches must wait for maintenance.
    private var needsMaintenance: Bool {
        guard !lane.isEmpty else { return false }
        return lane.isHalted || !isPrepared || needsNode || mustReadEpoch || deduplication.needsBuckets
            || deduplication.needsSearch
    }

    var mustReadEpoch: Bool { needsEpoch || numbers != .left }

    /// Whether another node must be created before anything is sent.
    var needsNode: Bool { node.name == nil || lane.version >= limits.batchesOfANode }

    /// Returns the transaction that stores a batch, or an error when the producer's node or the ID buckets are missing.
    func plan(for batch: SendLane.Batch) -> Result<BatchPlan, any Error> {
        guard let name = node.name else { return .failure(Self.nodeIsGone) }
        if deduplication.needsBuckets { return .failure(BatchPlan.Refusal.idsAreElsewhere(Self.idsAreUnknown)) }
        return .success(
            BatchPlan(
                batch, lane: name, epoch: epoch, buckets: deduplication.buckets ?? IDBuckets(), packing: packing,
                in: queue.tree))
    }

    private static var idsAreUnknown: ZooKeeperError {
        ZooKeeperError(
            code: .deadlineExceeded, message: "Where ids are remembered could not be read.", path: nil,
            outcome: .notApplied)
    }

    private static var nodeIsGone: ZooKeeperError {
        ZooKeeperError(
            code: .noNode, message: "The producer's lane is gone.", path: nil, operationIndex: 0, outcome: .notApplied)
    }

    // MARK: Events

    /// Handles the answer to the first attempt of a batch.
    mutating func answered(_ plan: BatchPlan, _ answer: Result<[OperationResult], any Error>, now: Duration) {
        inFlight -= 1
        for (entries, names) in lane.landed(plan.batch.version, names(plan, answer)) { finish(entries, names: names) }
        flush(now: now)
        tellIfIdle()
    }

    /// Returns the names of a batch's messages, or why the batch was not stored.
    mutating func names(
        _ plan: BatchPlan, _ answer: Result<[OperationResult], any Error>
    ) -> Result<[String?], any Error> {
        switch answer {
        case .failure(let error): return .failure(plan.judged(error))
        case .success(let results):
            if plan.hasUsedTheNumbers(results) { numbers = .used }
            room.noteStored(nodes: plan.groups.count, messages: plan.batch.entries.count)
            return .success(plan.names(results))
        }
    }

    mutating func finish(_ entries: [SendLane.Entry], names: [String?]) {
        obstacle = nil
        for (entry, name) in zip(entries, names) {
            resume(pending.finish(entry.send, index: entry.index, with: .success(SendReceipt(name: name))))
        }
    }

    mutating func finish(_ entries: [SendLane.Entry], error: any Error) {
        for entry in entries { resume(pending.finish(entry.send, index: entry.index, with: .failure(error))) }
    }
}
