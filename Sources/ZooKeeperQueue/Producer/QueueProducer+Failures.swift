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
        case .failure(let error):
            let cause = error as? ZooKeeperError
            if let cause, cause.operationIndex == 0, cause.code == .badVersion {
                // The version has moved on, and nobody but this producer moves it: the batch was stored.
                let entries = lane.firstIsStored()
                finish(entries, names: .init(repeating: nil, count: entries.count))
            } else {
                await handle(error)
            }
        }
    }

    func handle(_ error: any Error) async {
        switch error as? BatchPlan.Refusal {
        case .duplicate(let entry):
            // The batch is not stored, and what is left of it goes again.
            if lane.isUnresolved { lane.firstIsFree() }
            finishDuplicate(entry)
            mustFindDuplicates = true
            return
        case .idsAreElsewhere(let cause):
            buckets = nil
            giveUpExpired(cause)
            return await cause.pauseIfRefusedAtOnce(queue.store)
        case nil: break
        }
        guard let cause = (error as? ZooKeeperError) ?? (error as? QueueError)?.cause else { return fail(with: error) }
        if cause.operationIndex == 0, cause.code == .badVersion || cause.code == .noNode {
            renewLane()
        } else if cause.operationIndex == BatchPlan.epochCheck, cause.code == .badVersion {
            mustReadEpoch = true
        } else if let operation = cause.operationIndex, operation > BatchPlan.epochCheck, cause.code == .nodeExists {
            numbers = .refused
            giveUpExpired(cause)
        } else if cause.isPassing {
            giveUpExpired(cause)
            await cause.pauseIfRefusedAtOnce(queue.store)
        } else {
            if cause.code == .noNode { (isPrepared, mustReadEpoch) = (false, true) }
            // An operation of the batch was refused, so the lane's version still fitted: nothing was stored before.
            fail(with: error, isCertain: cause.operationIndex != nil)
        }
    }

    /// A message of the same id was stored before.
    func finishDuplicate(_ entry: SendLane.Entry) {
        for duplicate in lane.removeWaiting(where: { $0.send == entry.send && $0.index == entry.index }) {
            let receipt = SendReceipt(name: nil, isDuplicate: true)
            pending.finish(duplicate.send, index: duplicate.index, with: .success(receipt))
        }
    }

    /// The lane is gone, after a silence longer than ``QueueSettings/laneRetention``, or somebody wrote to it. Only a
    /// new one can tell from here on; what was unresolved on the old one stays so.
    private func renewLane() {
        formerLaneName = laneName
        laneName = nil
        let error = QueueError(
            .outcomeUnknown, "The producer's lane was removed before the outcome of the send could be learnt.")
        finish(lane.abandonUnresolved(), error: error)
    }

    /// A refusal holds for all that waits, since it is not about one message.
    private func fail(with error: any Error, isCertain: Bool = false) {
        let refusal =
            (error as? ZooKeeperError).map { QueueError($0, while: "storing messages", queue: queue.path) } ?? error
        let unknown = QueueError(
            .outcomeUnknown, "The messages may be stored or not, and it can no longer be found out.",
            cause: error as? ZooKeeperError)
        if lane.isUnresolved {
            if isCertain {
                finish(lane.firstIsRefused(), error: refusal)
            } else {
                finish(lane.abandonUnresolved(), error: unknown)
                // Nobody knows its version any more.
                laneName = nil
            }
        }
        finish(lane.removeWaiting { _ in true }, error: refusal)
    }

    func finish(_ entries: [SendLane.Entry], names: [String?]) {
        for (entry, name) in zip(entries, names) {
            pending.finish(entry.send, index: entry.index, with: .success(SendReceipt(name: name)))
        }
    }

    func finish(_ entries: [SendLane.Entry], error: any Error) {
        for entry in entries { pending.finish(entry.send, index: entry.index, with: .failure(error)) }
    }

    /// Tells those whose time is over. An unresolved batch is tried on even when nobody waits for it: what comes after it
    /// must not overtake it.
    private func giveUpExpired(_ cause: ZooKeeperError) {
        let now = queue.store.now
        finish(
            lane.removeWaiting { $0.deadline <= now },
            error: QueueError(
                .unreachable, "No server answered in time; the message is not stored.", cause: cause))
        let unknown = { (send: SendID?) in
            QueueError(
                .outcomeUnknown,
                "No answer came in time: the messages may be stored or not. Repeat the send to find out; it stores nothing "
                    + "twice.", cause: cause, unresolvedSend: send)
        }
        let uncertain = lane.batches.flatMap(\.entries)
        for send in Set(uncertain.filter { $0.deadline <= now }.map(\.send)) {
            pending.detach(send, with: unknown(send))
        }
        // Nobody will ask any more, and `close()` waits.
        if isClosed, !uncertain.isEmpty, uncertain.allSatisfy({ $0.deadline <= now }) {
            finish(lane.abandonUnresolved(), error: unknown(nil))
            // Nobody knows its version any more.
            if !lane.isEmpty { laneName = nil }
        }
    }
}
