import ZooKeeper

/// Sends waiting messages.
extension ProducerStateMachine {
    /// Sends waiting messages, as far as the producer's sequence allows, or begins the
    /// maintenance that must come first.
    mutating func flush(now: Duration) {
        if maintenance != nil { return }
        if sequence.isEmpty { hasDelays = false }
        if needsMaintenance(at: now) {
            if sequence.allCompleted { beginMaintenance() }
            return
        }
        guard let name = node.name else { return }
        if !uncheckedSends.isEmpty { refuseExpired(now: now) }
        admit(now: now)
        while let batch = sequence.nextBatch(
            overhead: BatchTransaction.overhead, maximumGrouped: groups.maximumMessages)
        {
            inFlight += 1
            emit(.send(plan(for: batch, over: name, now: now)))
        }
        if sequence.isStuck { beginMaintenance() }
    }

    /// Refuses the unchecked sends with a message that would expire before it is delivered. None of them has begun,
    /// because no batch is sent before the clock is known.
    private mutating func refuseExpired(now: Duration) {
        let refused = sequence.removeSends { entry in
            uncheckedSends.contains(entry.send) && entry.expiresBeforeDelivery(by: clock, now: now)
        }
        uncheckedSends = []
        finish(refused, error: MessageEncoder.expiresTooEarly)
    }

    /// Whether later batches must wait for maintenance.
    private func needsMaintenance(at now: Duration) -> Bool {
        guard !sequence.isEmpty else { return false }
        return sequence.isHalted || !isPrepared || needsNode || mustReadEpoch || deduplication.needsBuckets
            || deduplication.needsSearch || needsClock(at: now)
    }

    /// Whether the ensemble's clock must be read, because a due time depends on it.
    func needsClock(at now: Duration) -> Bool { hasDelays && !clock.isFresh(at: now) }

    var mustReadEpoch: Bool { needsEpoch || sequenceNumbers != .available }

    /// Whether another node must be created before anything is sent.
    var needsNode: Bool { node.name == nil || sequence.version >= configuration.batchesOfANode }

    /// Returns the transaction that stores a batch and increments the version of the producer's node.
    func plan(for batch: ProducerSequence.Batch, over node: String, now: Duration) -> BatchTransaction {
        var batch = batch
        if hasDelays {
            for index in batch.entries.indices { batch.entries[index].setTimes(by: clock, now: now) }
        }
        var plan = BatchTransaction(
            batch, sequence: node, epoch: epoch, buckets: deduplication.buckets ?? DeduplicationBuckets(),
            packer: packer,
            in: queue.tree)
        if let states = groups.states(of: plan.groups) { plan.use(states) }
        return plan
    }

    // MARK: Events

    /// Handles the reply to the first attempt of a batch.
    mutating func answered(
        _ plan: BatchTransaction, _ reply: Result<[OperationResult], any Error>, sentAt: Duration, now: Duration
    ) {
        inFlight -= 1
        if case .success(let results) = reply, case .set(let stat)? = results.first {
            clock.observe(stat.mtime, sentAt: sentAt, receivedAt: now)
        }
        for (entries, names) in sequence.completed(plan.batch.version, record(reply, to: plan)) {
            finish(entries, names: names)
        }
        flush(now: now)
        notifyIfIdle()
    }

    /// Records what the reply to a batch says about the sequence numbers and the fill of the queue.
    ///
    /// - Returns: The names of the batch's messages, or the error.
    mutating func record(
        _ reply: Result<[OperationResult], any Error>, to plan: BatchTransaction
    ) -> Result<[String?], any Error> {
        switch reply {
        case .failure(let error): return .failure(plan.translated(error))
        case .success(let results):
            if plan.exhaustsSequenceNumbers(results) { sequenceNumbers = .exhausted }
            groups.stored(plan.groupStates, messages: plan.batch.grouped)
            budget.noteStored(nodes: plan.nodes, messages: plan.batch.entries.count)
            return .success(plan.names(results))
        }
    }

    /// Handles a reading of the ensemble's clock.
    mutating func clockRead(_ stamp: Int64, sentAt: Duration, now: Duration) {
        clock.observe(stamp, sentAt: sentAt, receivedAt: now)
    }

    mutating func finish(_ entries: [ProducerSequence.Entry], names: [String?]) {
        lastFailure = nil
        for (entry, name) in zip(entries, names) {
            resume(pending.finish(entry.send, index: entry.index, with: .success(SendReceipt(nodeName: name))))
        }
    }

    mutating func finish(_ entries: [ProducerSequence.Entry], error: any Error) {
        for entry in entries { resume(pending.finish(entry.send, index: entry.index, with: .failure(error))) }
    }
}
