import ZooKeeper

/// Deletes every ready message of a queue.
struct QueuePurge: Sendable {
    let queue: MessageQueue

    func run(progress: (_ done: Int, _ total: Int) -> Void) async throws -> Int {
        try await QueueError.translating(while: "purging messages", queue: queue.path) {
            try await queue.prepareExisting()
            var done = try await purgeFollowers(progress: progress)
            while true {
                let (entries, epoch) = try await queue.reader.readyEntries()
                let heads = try await heads(among: entries)
                var missed = 0
                for (entry, key) in heads {
                    if try await delete(entry, of: key, epoch) { done += 1 } else { missed += 1 }
                }
                let singles = entries.filter { heads[$0] == nil }
                let deletions = singles.map { [ZooKeeperOperation.delete($0.path(in: queue.tree))] }
                let before = done
                let outcome = try await queue.writer.apply(deletions, guardedBy: [epoch.check(in: queue.tree)]) {
                    progress(before + $0, before + $1)
                }
                done += outcome.done
                missed += deletions.count - outcome.done
                // In another epoch the same names mean other messages, and messages may have moved to another folder. A
                // node that cannot be deleted stays. When a pass deletes nothing, another pass in the same epoch would
                // not either.
                let isOver = try await queue.reader.sequenceEpoch().version != epoch.version
                let hasMoved = isOver || epoch.phase != .open && missed < entries.count
                if outcome.isComplete, missed == 0 || !hasMoved { return done }
            }
        }
    }

    /// Deletes the messages that wait in groups.
    private func purgeFollowers(progress: (_ done: Int, _ total: Int) -> Void) async throws -> Int {
        var done = 0
        for group in try await queue.reader.usableNames(ofFolder: queue.tree.groups) {
            let path = "\(queue.tree.groups)/\(group)"
            let deletions = try await queue.reader.usableNames(ofFolder: path).filter { ItemName($0) != nil }
                .map { [ZooKeeperOperation.delete("\(path)/\($0)")] }
            done += try await queue.writer.apply(deletions) { progress(done + $0, done + $1) }.done
        }
        return done
    }

    /// Returns the messages that are heads of groups.
    private func heads(among entries: [ReadyList.Entry]) async throws -> [ReadyList.Entry: GroupKey] {
        guard try await queue.reader.childCount(queue.tree.groups) > 0 else { return [:] }
        var heads: [ReadyList.Entry: GroupKey] = [:]
        for start in stride(from: 0, to: entries.count, by: MessageMover.batchSize) {
            let batch = entries.dropFirst(start).prefix(MessageMover.batchSize)
            for (entry, node) in zip(batch, try await queue.reader.readUsable(batch.map { $0.path(in: queue.tree) })) {
                if let key = (node?.data).flatMap(Envelope.group(in:)) { heads[entry] = key }
            }
        }
        return heads
    }

    /// Deletes the head of a group. A message that was sent to the group in the meantime becomes the head.
    ///
    /// - Returns: `false` when the head is gone, or the epoch has changed.
    private func delete(_ entry: ReadyList.Entry, of key: GroupKey, _ epoch: SequenceEpoch) async throws -> Bool {
        let path = entry.path(in: queue.tree)
        var (wasSent, retries) = (false, GroupSuccession.Retries())
        while true {
            let succession = try await queue.groups.succession(of: key)
            do {
                _ = try await queue.store.multi(
                    [epoch.check(in: queue.tree), .delete(path)] + (succession?.operations ?? []))
                return true
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // The next attempt resolves this: a head that is gone was deleted, or claimed at the same time.
                wasSent = true
            } catch let error as ZooKeeperError where GroupSuccession.Outdated.codes.contains(error.code) {
                switch error.operationIndex {
                case 0: return false
                case 1 where error.code == .notEmpty:
                    queue.skipped.skip(path, error)
                    return false
                case 1: return wasSent
                default:
                    succession?.note(error, in: queue)
                    retries = try await retries.next(in: queue.store)
                }
            }
        }
    }
}
