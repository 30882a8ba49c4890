import Glibc
import ZooKeeper

extension MessageQueue {
    /// How many messages are where. It costs a few reads and one for each consumer, however long the queue.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueMissing`` when there is no queue.
    public func statistics() async throws -> QueueStatistics {
        try await QueueError.translating(while: "counting", queue: path) {
            func count(_ path: String) async throws -> Int { Int(try await store.exists(path)?.numChildren ?? 0) }
            guard let items = try await store.exists(tree.items) else { throw missing }
            var statistics = QueueStatistics(
                ready: Int(items.numChildren) + (try await count(tree.earlier)), leased: 0,
                partial: try await count(tree.partial),
                dead: try await count(tree.dead), consumers: 0, created: items.childrenCreated,
                bytes: try await store.bytes(below: path), skipped: skipped.count)
            let consumers = try await names(tree.consumers)
            statistics.consumers = consumers.count
            for name in consumers {
                guard let stat = try await usableStat(tree.consumer(name).item) else { continue }
                // The Python ancestor holds its one message as the data of this node.
                statistics.leased += Int(stat.numChildren) + (stat.dataLength > 0 ? 1 : 0)
            }
            return statistics
        }
    }

    /// How long the oldest ready message has waited, by this machine's clock; `nil` when none is ready.
    ///
    /// It reads the list of all ready messages.
    public func oldestAge() async throws -> Duration? {
        try await QueueError.translating(while: "looking for the oldest message", queue: path) {
            let entries = try await readyEntries().entries.sorted {
                ($0.name.epoch, $0.name.sequence) < ($1.name.epoch, $1.name.sequence)
            }
            for entry in entries {
                guard let stat = try await usableStat(entry.path(in: tree)) else { continue }
                return .milliseconds(max(0, Self.milliseconds() - stat.ctime))
            }
            return nil
        }
    }

    /// The first ready messages, in the order in which they will be handed out. Nothing is taken.
    public func browse(limit: Int = 100) async throws -> [BrowsedMessage] {
        try await QueueError.translating(while: "browsing", queue: path) {
            var messages: [BrowsedMessage] = []
            for entry in try await readyEntries().entries.sorted() {
                if messages.count >= limit { break }
                guard let node = try await usableNode(entry.path(in: tree)) else { continue }
                let isUnfilled = (node.data ?? []).isEmpty && node.stat.version == 0
                guard !isUnfilled, let readable = MessageNode(entry, node: node) else { continue }
                messages += readable.messages.prefix(limit - messages.count).map { message in
                    BrowsedMessage(
                        name: message.name.string, priority: entry.name.priority, deliveryCount: entry.name.returns + 1,
                        payload: message.envelope.payload, headers: message.envelope.headers,
                        id: message.envelope.id,
                        enqueueTime: node.stat.ctime)
                }
            }
            return messages
        }
    }

    /// Deletes every ready message, at any depth. Leased, partial and dead messages stay.
    ///
    /// - Parameter progress: is told, now and then, how many are deleted of how many.
    /// - Returns: how many were deleted.
    /// - Throws: ``QueueError``; `CancellationError`. What was deleted by then stays deleted.
    @discardableResult
    public func purge(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        try await QueueError.translating(while: "purging", queue: path) {
            try await prepareExisting()
            var done = 0
            while true {
                let (entries, epoch) = try await readyEntries()
                let groups = entries.map { [Operation.delete($0.path(in: tree))] }
                let outcome = try await applyAll(groups, guardedBy: [epoch.check(in: tree)]) {
                    progress(done + $0, done + $1)
                }
                done += outcome.done
                // In another epoch the names mean other messages, and messages may have moved to another folder. A node
                // that cannot be deleted stays. When nothing was deleted, looking again would not change that.
                let hasMoved = epoch.phase != .open && outcome.done < groups.count
                if outcome.isComplete, !hasMoved || outcome.done == 0 { return done }
            }
        }
    }

    // MARK: Helpers

    /// What is ready, in no order. Read twice when the names have changed their meaning in between.
    private func readyEntries() async throws -> (entries: [ReadyList.Entry], epoch: SequenceEpoch) {
        while true {
            let epoch = try await currentEpoch()
            let items = try await names(tree.items).compactMap { ItemName($0, inEpoch: epoch.number) }
            let earlier = epoch.usesEarlier ? try await names(tree.earlier).compactMap { ItemName($0) } : []
            guard try await currentEpoch() == epoch else { continue }
            let entries =
                items.map { ReadyList.Entry(name: $0, isEarlier: false) }
                + earlier.map { ReadyList.Entry(name: $0, isEarlier: true) }
            return (entries, epoch)
        }
    }

    /// What a queue of an older or a foreign client may lack, and no more.
    func prepareExisting() async throws {
        guard try await store.exists(tree.items) != nil else { throw missing }
        try await prepare()
    }

    /// A queue of an older or a foreign client has none, and begins with the first.
    func currentEpoch() async throws -> SequenceEpoch {
        try await node(tree.epoch).map(SequenceEpoch.init) ?? SequenceEpoch()
    }

    /// Applies groups of operations, many in one multi, and passes over groups whose nodes are gone. Skips a group that
    /// ZooKeeper refuses, and applies the others.
    ///
    /// - Parameter guards: checks that each multi begins with. When one of them fails, the rest is left.
    /// - Returns: how many groups were applied, and whether none was left out because of the guards or a lost answer.
    func applyAll(
        _ groups: [[Operation]], guardedBy guards: [Operation] = [],
        progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws -> (done: Int, isComplete: Bool) {
        var rest = groups[...]
        var done = 0
        while !rest.isEmpty {
            try Task.checkCancellation()
            let count = max(1, min(300, store.countThatFits(rest, besides: guards.count)))
            var batch = Array(rest.prefix(count))
            while !batch.isEmpty {
                do {
                    _ = try await store.multi(guards + batch.flatMap { $0 })
                    done += batch.count
                    batch = []
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    // Deleting again is harmless, because missing nodes are passed over.
                } catch let error as ZooKeeperError where error.isRefusal {
                    guard let index = error.operationIndex else {
                        guard batch.count == 1, error.concernsOneNode else { throw error }
                        skip(batch.removeFirst(), error)
                        continue
                    }
                    if index < guards.count {
                        if error.code == .badVersion { return (done, false) }
                        throw error
                    }
                    var end = guards.count
                    let failed = batch.firstIndex { group in
                        end += group.count
                        return index < end
                    }
                    guard let failed else { throw error }
                    let group = batch[failed]
                    // The right to delete a node is its parent's: only below the group's own node it is the node's matter.
                    let isOwn = index < end - 1
                    guard error.concernsOneNode || isOwn || error.code == .noNode || error.code == .badVersion else {
                        throw error
                    }
                    batch.remove(at: failed)
                    if error.code != .noNode, error.code != .badVersion { skip(group, error) }
                }
            }
            rest = rest.dropFirst(count)
            progress(groups.count - rest.count, groups.count)
        }
        return (done, true)
    }

    private func skip(_ group: [Operation], _ error: ZooKeeperError) {
        if let path = group.last?.path { skipped.skip(path, error) }
    }

    func names(_ path: String) async throws -> [String] {
        do {
            return try await store.children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            if path == tree.items { throw missing }
            return []
        }
    }

    func node(_ path: String) async throws -> Node? {
        do {
            return try await store.get(path)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    /// Returns the node if it exists. Skips it when ZooKeeper refuses to return it.
    func usableNode(_ path: String) async throws -> Node? { try await readUsable([path])[0] }

    /// Returns a node's metadata, unless ZooKeeper refuses. Servers from 3.9 on refuse it for a node that may not be
    /// read.
    func usableStat(_ path: String) async throws -> Stat? {
        do {
            return try await store.exists(path)
        } catch let error as ZooKeeperError where error.isRefusal {
            skipped.skip(path, error)
            return nil
        }
    }

    var missing: QueueError { QueueError(.queueMissing, "There is no queue at \(path).") }

    private static func milliseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }
}
