import Logging
import ZooKeeper

/// Handles batches that were not stored at the first attempt.
extension ProducerStateMachine {
    /// Handles the failure of a step.
    mutating func stepFailed(_ step: Step, _ error: any Error) {
        switch step {
        case .inspectNode:
            // The batch is sent again and refused again, which leads back to this step.
            if let cause = error as? ZooKeeperError { retryLater(cause) }
            return
        case .restoreFolders(_, let isCertain, _):
            // A folder that is missing again was removed in the meantime.
            guard let failure = error as? ZooKeeperError, failure.isRetryable || failure.code == .noNode else {
                return fail(with: error, isCertain: isCertain)
            }
            return retryLater(failure)
        case .deleteNode, .pause, .sleep: return
        default: break
        }
        switch maintenance?.stage {
        case .opening: maintenance?.stage = .findingDuplicates
        case .findingCapacity:
            capacityError = nil
            maintenance?.stage = .ended
        default: break
        }
        handleFailure(error, isOfBatch: false)
    }

    /// Handles an error of a batch, or of a request that must precede batches.
    ///
    /// - Parameter isOfBatch: whether a batch was refused.
    mutating func handleFailure(_ error: any Error, isOfBatch: Bool = true) {
        switch error as? MessageCreation.Refusal {
        case .duplicate(let entry):
            // The batch is not stored. Its other messages are sent again.
            if sequence.isUnresolved { sequence.firstIsFree() }
            duplicatesFound([entry])
            deduplication.requireSearch()
            return
        case .slotsAreMissing(let slots, let cause):
            return insert(.restoreFolders(cause, isCertain: true, slots: slots))
        case .bucketsHaveChanged(let cause):
            deduplication.forget()
            return retryLater(cause)
        case .groupsHaveChanged(let messages):
            // The next attempt reads their states again.
            if groups.refused(messages: messages) { insert(.sleep(.milliseconds(50))) }
            if sequence.isUnresolved { sequence.firstIsFree() }
            return
        case .groupIsUnusable(let group, let cause):
            if sequence.isUnresolved { sequence.firstIsFree() }
            let refusal = QueueError(cause, while: "storing messages of a group", queue: queue.path)
            return finish(sequence.remove { $0.group == group }, error: refusal)
        case nil: break
        }
        let queueError = error as? QueueError
        guard let cause = (error as? ZooKeeperError) ?? queueError?.cause, queueError?.code != .queueNotFound else {
            return fail(with: error)
        }
        let operation = isOfBatch ? cause.operationIndex : nil
        if operation == 0, cause.code == .badVersion {
            inspectNode()
        } else if operation == 0, cause.code == .noNode {
            renewNode(because: Self.nodeWasRemoved)
        } else if operation == BatchTransaction.epochCheck, cause.code == .badVersion {
            // The version of the producer's node matched, so the batch was not stored by an earlier attempt either.
            if sequence.isUnresolved { sequence.firstIsFree() }
            needsEpoch = true
        } else if let operation, operation > BatchTransaction.epochCheck, cause.code == .nodeExists {
            sequenceNumbers = .refused
            recordFailure(cause)
        } else if cause.isRetryable {
            retryLater(cause)
        } else if cause.code == .noNode {
            restoreFolders(cause, isCertain: operation != nil)
        } else {
            // An operation of the batch was refused, so the version of the producer's node still matched: no
            // earlier attempt was applied.
            fail(with: error, isCertain: operation != nil)
        }
    }

    // MARK: Missing or changed nodes

    static var nodeWasRemoved: String { "The producer's node was removed." }

    /// Inspects the producer's node, whose unexpected version caused the refusal of a batch.
    private mutating func inspectNode() {
        guard let name = node.name else { return renewNode(because: Self.nodeWasRemoved) }
        insert(.inspectNode(path: queue.tree.producer(name)))
    }

    /// Interprets the version of the producer's node.
    ///
    /// - Parameter version: the version; `nil` when there is no such node.
    mutating func nodeInspected(_ version: Int32?, path: String) {
        guard let version else { return renewNode(because: Self.nodeWasRemoved) }
        let expected = sequence.firstUnresolved?.version ?? sequence.version
        let metadata: Logger.Metadata = ["path": "\(path)", "version": "\(version)", "expected": "\(expected)"]
        switch sequence.verdict(on: version) {
        case .stored:
            let entries = sequence.firstIsStored()
            finish(entries, names: .init(repeating: nil, count: entries.count))
        case .fits: insert(.sleep(.milliseconds(50)))
        case .behind:
            emit(.log(.error, "The ensemble has lost acknowledged writes, or a producer's node was replaced", metadata))
            renewNode(because: "The ensemble has lost acknowledged writes, or the producer's node was replaced.")
        case .ahead:
            emit(.log(.error, "Another client has written to a producer's node", metadata))
            renewNode(because: "Another client has written to the producer's node.")
        }
    }

    /// Switches to another node, because the version of the old one no longer tells what was stored. Batches that were
    /// unresolved on the old one stay so.
    mutating func renewNode(because reason: String, cause: ZooKeeperError? = nil) {
        if case .open(let name) = node { node = .missing(former: name) }
        finish(sequence.abandonUnresolved(), error: Self.unknown(reason, cause: cause))
    }

    private static func unknown(_ reason: String, cause: ZooKeeperError? = nil) -> QueueError {
        QueueError(
            .outcomeUnknown,
            reason + " The messages may or may not be stored, and the producer can no longer find out. Only messages "
                + "with an ID can be sent again without a duplicate.", cause: cause)
    }

    /// Restores missing folders of the queue. The producer continues after that.
    private mutating func restoreFolders(_ cause: ZooKeeperError, isCertain: Bool) {
        needsEpoch = true
        deduplication.forget()
        insert(.restoreFolders(cause, isCertain: isCertain, slots: []))
    }

    /// Handles the restoration of folders. A pause follows unless new slots were the reason, because the server may lag
    /// behind the one that another client used.
    mutating func foldersRestored(_ cause: ZooKeeperError, isPlanned: Bool) { if !isPlanned { retryLater(cause) } }

    /// Fails all waiting messages, because the refusal is not about a single message.
    private mutating func fail(with error: any Error, isCertain: Bool = false) {
        if (error as? QueueError)?.code == .queueNotFound { (isPrepared, needsEpoch) = (false, true) }
        let refusal =
            (error as? ZooKeeperError).map { QueueError($0, while: "storing messages", queue: queue.path) } ?? error
        if sequence.isUnresolved {
            if isCertain {
                finish(sequence.firstIsRefused(), error: refusal)
            } else {
                renewNode(because: "The batch could not be sent again.", cause: error as? ZooKeeperError)
            }
        }
        finish(sequence.removeWaiting(), error: refusal)
    }

    mutating func retryLater(_ cause: ZooKeeperError) {
        recordFailure(cause)
        insert(.pause(cause))
    }

    /// Keeps the error for callers whose deadlines pass before it is resolved. An error with an unknown outcome
    /// concerns messages in flight, and says nothing about waiting ones.
    private mutating func recordFailure(_ cause: ZooKeeperError) {
        lastFailure = cause.outcome == .notApplied ? cause : nil
        endAbandonedSends()
    }

    /// Ends all sends of a closed producer when no caller waits for them, because `close()` waits until none is left.
    mutating func endAbandonedSends() {
        guard phase == .closed, pending.waiters == 0 else { return }
        let unknown = Self.unknown("The producer was closed.")
        finish(sequence.abandonUnresolved(), error: unknown)
        let closed = QueueError(
            .closed,
            "Not sent: the producer was closed. The message is not stored. Send it with another producer.")
        for entry in sequence.removeWaiting() {
            finish([entry], error: sequence.hasBegun(entry.send) ? unknown : closed)
        }
    }
}
