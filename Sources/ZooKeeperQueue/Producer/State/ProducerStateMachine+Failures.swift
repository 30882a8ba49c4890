import Logging
import ZooKeeper

/// What becomes of batches that were not stored at once.
extension ProducerStateMachine {
    /// A step of the maintenance has failed.
    mutating func stepFailed(_ step: Step, _ error: any Error) {
        switch step {
        case .inspectNode:
            // The batch is sent again, and refused again.
            if let cause = error as? ZooKeeperError { retryLater(cause) }
            return
        case .restoreFolders(_, let isCertain):
            // A folder that is missing once more was removed meanwhile.
            guard let failure = error as? ZooKeeperError, failure.isPassing || failure.code == .noNode else {
                return fail(with: error, isCertain: isCertain)
            }
            return retryLater(failure)
        case .deleteNode, .pause, .sleep: return
        default: break
        }
        switch maintenance?.stage {
        case .opening: maintenance?.stage = .findingDuplicates
        case .findingRoom:
            fullness = nil
            maintenance?.stage = .ended
        default: break
        }
        judge(error, isOfBatch: false)
    }

    /// - Parameter isOfBatch: whether a batch was refused. Otherwise a request was refused that must precede it.
    mutating func judge(_ error: any Error, isOfBatch: Bool = true) {
        switch error as? BatchPlan.Refusal {
        case .duplicate(let entry):
            // The batch is not stored, and what is left of it goes again.
            if lane.isUnresolved { lane.firstIsFree() }
            duplicatesFound([entry])
            deduplication.requireSearch()
            return
        case .idsAreElsewhere(let cause):
            deduplication.forget()
            return retryLater(cause)
        case nil: break
        }
        let queueError = error as? QueueError
        guard let cause = (error as? ZooKeeperError) ?? queueError?.cause, queueError?.code != .queueMissing else {
            return fail(with: error)
        }
        let operation = isOfBatch ? cause.operationIndex : nil
        if operation == 0, cause.code == .badVersion {
            inspectNode()
        } else if operation == 0, cause.code == .noNode {
            renewNode(because: Self.nodeWasRemoved)
        } else if operation == BatchPlan.epochCheck, cause.code == .badVersion {
            needsEpoch = true
        } else if let operation, operation > BatchPlan.epochCheck, cause.code == .nodeExists {
            numbers = .refused
            note(cause)
        } else if cause.isPassing {
            retryLater(cause)
        } else if cause.code == .noNode {
            restoreFolders(cause, isCertain: operation != nil)
        } else {
            // An operation of the batch was refused, so the version of the producer's node still fitted: nothing was stored
            // before.
            fail(with: error, isCertain: operation != nil)
        }
    }

    // MARK: What is missing, or not as it was left

    static var nodeWasRemoved: String { "The producer's lane was removed." }

    /// A batch was refused because the producer's node has an unexpected version.
    private mutating func inspectNode() {
        guard let name = node.name else { return renewNode(because: Self.nodeWasRemoved) }
        insert(.inspectNode(path: queue.tree.lane(name)))
    }

    /// - Parameter version: the version of the producer's node; `nil` when there is no such node.
    mutating func nodeInspected(_ version: Int32?, path: String) {
        guard let version else { return renewNode(because: Self.nodeWasRemoved) }
        let expected = lane.firstUnresolved?.version ?? lane.version
        let metadata: Logger.Metadata = ["path": "\(path)", "version": "\(version)", "expected": "\(expected)"]
        switch lane.verdict(on: version) {
        case .stored:
            let entries = lane.firstIsStored()
            finish(entries, names: .init(repeating: nil, count: entries.count))
        case .fits: insert(.sleep(.milliseconds(50)))
        case .behind:
            emit(.log(.error, "The ensemble has lost acknowledged writes, or a producer's lane was replaced", metadata))
            renewNode(because: "The ensemble has lost acknowledged writes, or the producer's lane was replaced.")
        case .ahead:
            emit(.log(.error, "Another client has written to a producer's lane", metadata))
            renewNode(because: "Another client has written to the producer's lane.")
        }
    }

    /// Begins another node, because the old one can no longer tell. Batches that were unresolved on it stay so.
    mutating func renewNode(because reason: String, cause: ZooKeeperError? = nil) {
        if case .open(let name) = node { node = .missing(former: name) }
        finish(lane.abandonUnresolved(), error: Self.unknown(reason, cause: cause))
    }

    private static func unknown(_ reason: String, cause: ZooKeeperError? = nil) -> QueueError {
        QueueError(
            .outcomeUnknown, reason + " The messages may be stored or not, and it can no longer be found out.",
            cause: cause)
    }

    /// A folder of the queue is missing. The producer goes on once it is restored.
    private mutating func restoreFolders(_ cause: ZooKeeperError, isCertain: Bool) {
        needsEpoch = true
        deduplication.forget()
        insert(.restoreFolders(cause, isCertain: isCertain))
    }

    mutating func foldersRestored(_ cause: ZooKeeperError) { retryLater(cause) }

    /// A refusal holds for all that waits, because it is not about one message.
    private mutating func fail(with error: any Error, isCertain: Bool = false) {
        if (error as? QueueError)?.code == .queueMissing { (isPrepared, needsEpoch) = (false, true) }
        let refusal =
            (error as? ZooKeeperError).map { QueueError($0, while: "storing messages", queue: queue.path) } ?? error
        if lane.isUnresolved {
            if isCertain {
                finish(lane.firstIsRefused(), error: refusal)
            } else {
                renewNode(because: "The batch could not be sent again.", cause: error as? ZooKeeperError)
            }
        }
        finish(lane.removeWaiting(), error: refusal)
    }

    mutating func retryLater(_ cause: ZooKeeperError) {
        note(cause)
        insert(.pause(cause))
    }

    /// Keeps the error, for callers whose deadline passes before it is resolved. An error of unknown outcome concerns
    /// messages that are under way, and says nothing about those that wait.
    private mutating func note(_ cause: ZooKeeperError) {
        obstacle = cause.outcome == .notApplied ? cause : nil
        endAbandoned()
    }

    /// Ends all sends of a closed producer that no caller waits for, because `close()` waits until nothing is left.
    mutating func endAbandoned() {
        guard phase == .closed, pending.waiters == 0 else { return }
        let unknown = Self.unknown("The producer was closed.")
        finish(lane.abandonUnresolved(), error: unknown)
        let closed = QueueError(.closed, "The producer was closed before the message was sent; it is not stored.")
        for entry in lane.removeWaiting() { finish([entry], error: lane.hasBegun(entry.send) ? unknown : closed) }
    }
}
