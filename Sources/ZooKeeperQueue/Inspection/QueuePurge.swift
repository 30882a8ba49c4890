import ZooKeeper

/// Deletes every ready message of a queue.
struct QueuePurge: Sendable {
    let queue: MessageQueue

    func run(progress: (_ done: Int, _ total: Int) -> Void) async throws -> Int {
        try await QueueError.translating(while: "purging messages", queue: queue.path) {
            try await queue.prepareExisting()
            var done = 0
            while true {
                let (entries, epoch) = try await queue.reader.readyEntries()
                let groups = entries.map { [ZooKeeperOperation.delete($0.path(in: queue.tree))] }
                let outcome = try await queue.writer.apply(groups, guardedBy: [epoch.check(in: queue.tree)]) {
                    progress(done + $0, done + $1)
                }
                done += outcome.done
                // In another epoch the same names mean other messages, and messages may have moved to another folder. A
                // node that cannot be deleted stays. When a pass deletes nothing, another pass would not either.
                let hasMoved = epoch.phase != .open && outcome.done < groups.count
                if outcome.isComplete, !hasMoved || outcome.done == 0 { return done }
            }
        }
    }
}
