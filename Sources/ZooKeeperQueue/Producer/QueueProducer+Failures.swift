import Logging
import ZooKeeper

/// What becomes of batches that were not stored at once.
extension QueueProducer {
    /// All that was under way has landed, and something has failed.
    func sortOut() async {
        let (stored, error) = lane.sortOut()
        for (entries, names) in stored { finish(entries, names: names) }
        if let error { await handle(error) }
    }

    /// Sends the first unresolved batch again, and learns what became of it.
    func resolve(_ batch: SendLane.Batch) async {
        switch await send(batch) {
        case .success(let names): finish(lane.firstIsStored(), names: names)
        case .failure(let error): await handle(error)
        }
    }

    /// - Parameter isOfBatch: whether a batch was refused. Otherwise a request was refused that must precede it.
    func handle(_ error: any Error, isOfBatch: Bool = true) async {
        switch error as? BatchPlan.Refusal {
        case .duplicate(let entry):
            // The batch is not stored, and what is left of it goes again.
            if lane.isUnresolved { lane.firstIsFree() }
            finishDuplicates([entry])
            mustFindDuplicates = true
            return
        case .idsAreElsewhere(let cause):
            buckets = nil
            return await retryLater(cause)
        case nil: break
        }
        let queueError = error as? QueueError
        guard let cause = (error as? ZooKeeperError) ?? queueError?.cause, queueError?.code != .queueMissing else {
            return fail(with: error)
        }
        let operation = isOfBatch ? cause.operationIndex : nil
        if operation == 0, cause.code == .badVersion {
            await judgeLane()
        } else if operation == 0, cause.code == .noNode {
            renewLane(because: Self.laneWasRemoved)
        } else if operation == BatchPlan.epochCheck, cause.code == .badVersion {
            mustReadEpoch = true
        } else if let operation, operation > BatchPlan.epochCheck, cause.code == .nodeExists {
            numbers = .refused
            note(cause)
        } else if cause.isPassing {
            await retryLater(cause)
        } else if cause.code == .noNode {
            await restoreFolders(cause, isCertain: operation != nil)
        } else {
            // An operation of the batch was refused, so the lane's version still fitted: nothing was stored before.
            fail(with: error, isCertain: operation != nil)
        }
    }

    /// Handles messages whose ids were stored before.
    func finishDuplicates(_ entries: [SendLane.Entry]) {
        for duplicate in lane.remove(entries) {
            let receipt = SendReceipt(name: nil, isDuplicate: true)
            pending.finish(duplicate.send, index: duplicate.index, with: .success(receipt))
        }
    }

    // MARK: What is missing, or not as it was left

    private static let laneWasRemoved = "The producer's lane was removed."

    /// Handles a batch that was refused because the lane has an unexpected version.
    private func judgeLane() async {
        guard let laneName else { return renewLane(because: Self.laneWasRemoved) }
        let path = queue.tree.lane(laneName)
        let expected = lane.firstUnresolved?.version ?? lane.version
        do {
            // The session may have gone on at a server that is behind the one that refused the batch.
            try await queue.store.sync(path)
            guard let found = try await queue.store.exists(path)?.version else {
                return renewLane(because: Self.laneWasRemoved)
            }
            let metadata: Logger.Metadata = ["path": "\(path)", "version": "\(found)", "expected": "\(expected)"]
            switch lane.verdict(on: found) {
            case .stored:
                let entries = lane.firstIsStored()
                finish(entries, names: .init(repeating: nil, count: entries.count))
            case .fits: try await queue.store.sleep(for: .milliseconds(50))
            case .behind:
                queue.logger.error(
                    "The ensemble has lost acknowledged writes, or a producer's lane was replaced", metadata: metadata)
                renewLane(because: "The ensemble has lost acknowledged writes, or the producer's lane was replaced.")
            case .ahead:
                queue.logger.error("Another client has written to a producer's lane", metadata: metadata)
                renewLane(because: "Another client has written to the producer's lane.")
            }
        } catch {
            // The batch is sent again, and refused again.
            if let cause = error as? ZooKeeperError { await retryLater(cause) }
        }
    }

    /// Begins another lane, because the old one can no longer tell. Batches that were unresolved on it stay so.
    private func renewLane(because reason: String, cause: ZooKeeperError? = nil) {
        formerLaneName = laneName
        laneName = nil
        finish(lane.abandonUnresolved(), error: Self.unknown(reason, cause: cause))
    }

    private static func unknown(_ reason: String, cause: ZooKeeperError? = nil) -> QueueError {
        QueueError(
            .outcomeUnknown, reason + " The messages may be stored or not, and it can no longer be found out.",
            cause: cause)
    }

    /// Restores a missing folder of the queue. The producer then goes on.
    private func restoreFolders(_ cause: ZooKeeperError, isCertain: Bool) async {
        (mustReadEpoch, buckets) = (true, nil)
        do {
            try await queue.restoreMissingFolders()
            await retryLater(cause)
        } catch {
            // A folder that is missing once more was removed meanwhile.
            guard let failure = error as? ZooKeeperError, failure.isPassing || failure.code == .noNode else {
                return fail(with: error, isCertain: isCertain)
            }
            await retryLater(failure)
        }
    }

    /// A refusal holds for all that waits, since it is not about one message.
    private func fail(with error: any Error, isCertain: Bool = false) {
        if (error as? QueueError)?.code == .queueMissing { (isPrepared, mustReadEpoch) = (false, true) }
        let refusal =
            (error as? ZooKeeperError).map { QueueError($0, while: "storing messages", queue: queue.path) } ?? error
        if lane.isUnresolved {
            if isCertain {
                finish(lane.firstIsRefused(), error: refusal)
            } else {
                renewLane(because: "The batch could not be sent again.", cause: error as? ZooKeeperError)
            }
        }
        finish(lane.removeWaiting(), error: refusal)
    }

    func finish(_ entries: [SendLane.Entry], names: [String?]) {
        obstacle = nil
        for (entry, name) in zip(entries, names) {
            pending.finish(entry.send, index: entry.index, with: .success(SendReceipt(name: name)))
        }
    }

    func finish(_ entries: [SendLane.Entry], error: any Error) {
        for entry in entries { pending.finish(entry.send, index: entry.index, with: .failure(error)) }
    }

    private func retryLater(_ cause: ZooKeeperError) async {
        note(cause)
        await cause.pauseIfRefusedAtOnce(queue.store)
    }

    /// Keeps the error, for callers whose deadline passes before it is resolved. An error of unknown outcome concerns
    /// messages that are under way, and says nothing about those that wait.
    private func note(_ cause: ZooKeeperError) {
        obstacle = cause.outcome == .notApplied ? cause : nil
        // Nobody will ask any more, and `close()` waits.
        guard isClosed, pending.waiters == 0 else { return }
        finish(lane.abandonUnresolved(), error: Self.unknown("The producer was closed."))
        let closed = QueueError(.closed, "The producer was closed before the message was sent; it is not stored.")
        finish(lane.removeWaiting(), error: closed)
    }
}
