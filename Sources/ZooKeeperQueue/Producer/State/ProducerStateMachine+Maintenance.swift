import ZooKeeper

/// The steps that must be done before more messages are sent, one after the other.
extension ProducerStateMachine {
    typealias Step = ProducerStep

    /// The stages of the maintenance, in order. Each does only what is needed.
    enum Stage: Sendable {
        /// Determines what became of the batches that were in flight.
        case reconciling
        /// Sends the unresolved batches again, one after the other, until each has an outcome.
        case resolving(Resolution)
        /// Reads what a batch needs, and creates the producer's node.
        case opening
        case findingDuplicates
        /// Waits until the queue has free capacity.
        case findingCapacity(CapacitySearch)
        case ended
    }

    /// What comes next before an unresolved batch is sent again. Each part is tried once for each attempt.
    enum Resolution: Sendable { case epoch, buckets, clock, transaction }

    /// What comes next while waiting sends are not admitted, and how long the next pause is.
    enum CapacitySearch: Sendable {
        case epoch(pause: Duration)
        case fill(pause: Duration)
    }

    struct Maintenance: Sendable {
        var stage = Stage.reconciling
        /// A step that an error or an event demands before the stage continues.
        var urgent: Step?
    }

    mutating func beginMaintenance() {
        maintenance = Maintenance()
        emit(.maintain)
    }

    // MARK: Events

    /// Ends the current step.
    ///
    /// - Returns: the next step; `nil` at the end of the maintenance.
    mutating func nextStep(now: Duration) -> Step? {
        while let stage = maintenance?.stage {
            let step: Step?
            if let urgent = maintenance?.urgent {
                maintenance?.urgent = nil
                step = urgent
            } else {
                step = nextStep(of: stage, now: now)
            }
            if let step { return step }
            if case .ended = stage { break }
        }
        maintenance = nil
        flush(now: now)
        notifyIfIdle()
        return nil
    }

    /// Puts a step before the rest of the stage.
    mutating func insert(_ step: Step) { maintenance?.urgent = step }

    private mutating func go(to stage: Stage) { maintenance?.stage = stage }

    /// Advances the stage.
    ///
    /// - Returns: the next step; `nil` when there is none, or when the stage has changed and the caller must try again.
    private mutating func nextStep(of stage: Stage, now: Duration) -> Step? {
        switch stage {
        case .reconciling:
            go(to: .resolving(.epoch))
            if sequence.isHalted { reconcile() }
        case .resolving(let part):
            guard let batch = sequence.firstUnresolved else {
                go(to: sequence.isEmpty ? .findingDuplicates : .opening)
                return nil
            }
            return nextStep(for: batch, part, now: now)
        case .opening: return nextStepOfOpening(now: now)
        case .findingDuplicates:
            go(to: .findingCapacity(.epoch(pause: .milliseconds(50))))
            guard deduplication.needsSearch else { return nil }
            deduplication.requireSearch(false)
            guard let buckets = deduplication.buckets else { return nil }
            return .findDuplicates(sequence.waitingWithIDs(500), buckets)
        case .findingCapacity(let search):
            guard sequence.isStuck else {
                capacityError = nil
                go(to: .ended)
                return nil
            }
            switch search {
            case .epoch(let pause):
                go(to: .findingCapacity(.fill(pause: pause)))
                // Read the epoch, because no transaction is sent whose epoch check would reveal a changed capacity.
                return .readEpoch
            case .fill: return .measureFill(countingBytes: budget.capacity.bytes != nil)
            }
        case .ended: break
        }
        return nil
    }

    private mutating func nextStep(
        for batch: ProducerSequence.Batch, _ part: Resolution, now: Duration
    ) -> Step? {
        switch part {
        case .epoch:
            go(to: .resolving(.buckets))
            return mustReadEpoch ? .readEpoch : nil
        case .buckets:
            go(to: .resolving(.clock))
            return deduplication.needsBuckets ? .readBuckets : nil
        case .clock:
            go(to: .resolving(.transaction))
            return needsClock(at: now) ? .readClock : nil
        case .transaction:
            go(to: .resolving(.epoch))
            if deduplication.needsBuckets {
                retryLater(Self.bucketsAreUnread)
                return nil
            }
            guard let name = node.name else {
                renewNode(because: Self.nodeWasRemoved)
                return nil
            }
            return .resolve(plan(for: batch, over: name, now: now))
        }
    }

    private static var bucketsAreUnread: ZooKeeperError {
        ZooKeeperError(
            code: .deadlineExceeded, message: "Not sent: the IDs of earlier messages could not be read. Try again.",
            path: nil, outcome: .notApplied)
    }

    private mutating func nextStepOfOpening(now: Duration) -> Step? {
        if !isPrepared { return .prepare }
        if mustReadEpoch { return .readEpoch }
        if deduplication.needsBuckets { return .readBuckets }
        // The node changes only here, when no batch is unresolved, because only the batch's
        // own node can resolve a batch.
        guard needsNode else {
            if needsClock(at: now) { return .readClock }
            go(to: .findingDuplicates)
            return nil
        }
        let name: String
        switch node {
        case .creating(let next, _): name = next
        case .missing, .open:
            name = RandomName.make()
            node = .creating(name, former: node.existing)
        }
        return .createNode(path: queue.tree.producer(name))
    }

    /// Reconciles the batches, after each of them has a result and one has failed.
    private mutating func reconcile() {
        let (stored, error) = sequence.reconcileBatches()
        for (entries, names) in stored { finish(entries, names: names) }
        if let error { handleFailure(error) }
    }

    mutating func prepared() { isPrepared = true }

    /// Whether the producer must wait for the next epoch, because a rollover is about to finish or the sequence numbers
    /// of this epoch are exhausted.
    func mustWait(for epoch: SequenceEpoch) -> Bool {
        epoch.phase == .closing || sequenceNumbers != .available && epoch.number == self.epoch.number
    }

    mutating func epochRead(_ current: SequenceEpoch, _ attributes: QueueAttributes) {
        // The server also refuses a message when another client has created a node with its
        // number. Try again in that case.
        if current.number != epoch.number || sequenceNumbers == .refused { sequenceNumbers = .available }
        // The version of the epoch also changes when the settings do.
        use(attributes)
        epoch = current
        needsEpoch = false
        if isPaused { finish(sequence.removeUnbegun(), error: QueueError.sendingIsPaused(queue.path)) }
        if sequenceNumbers == .exhausted { stepFailed(.readEpoch, Self.numbersAreExhausted) }
    }

    private static var numbersAreExhausted: ZooKeeperError {
        ZooKeeperError(
            code: .deadlineExceeded,
            message: "Not sent: the sequence numbers are exhausted. Run a QueueRecovery to reset them.", path: nil,
            outcome: .notApplied)
    }

    private mutating func use(_ attributes: QueueAttributes) {
        packer.use(attributes)
        isPaused = attributes.paused.contains(.send)
        budget.capacity = attributes.capacity
        sequence.isGated = !attributes.capacity.isNone
    }

    mutating func bucketsRead(_ buckets: DeduplicationBuckets) { deduplication = .read(buckets, needsSearch: false) }

    mutating func nodeCreated() {
        guard case .creating(let name, let former) = node else { return }
        node = .open(name)
        sequence.renewed()
        if let former { insert(.deleteNode(path: queue.tree.producer(former))) }
    }

    /// Handles the reply to an unresolved batch that was sent again.
    mutating func resolved(_ plan: BatchTransaction, _ reply: Result<[OperationResult], any Error>) {
        switch record(reply, to: plan) {
        case .success(let names): finish(sequence.firstIsStored(), names: names)
        case .failure(let error): handleFailure(error)
        }
    }

    /// Completes messages whose IDs were stored before.
    mutating func duplicatesFound(_ entries: [ProducerSequence.Entry]) {
        for duplicate in sequence.remove(entries) {
            let receipt = SendReceipt(nodeName: nil, isDuplicate: true)
            resume(pending.finish(duplicate.send, index: duplicate.index, with: .success(receipt)))
        }
    }
}
