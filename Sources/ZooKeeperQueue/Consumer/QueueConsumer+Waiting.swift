import Logging
import ZooKeeper

/// The reader's wait for messages, alone or in the wait queue of idle consumers.
extension QueueConsumer {
    /// The reason why a wait for messages ended.
    private enum WakeReason { case found(Scan.Findings), rescan, idle, barred, busy, full }

    /// Scans for messages to claim until there is one: a child was added, or an item that was being written has
    /// changed. Reads the folders with a watch, which tells when to read them again.
    ///
    /// - Returns: `nil` when there is no message and no reason to wait for one, or when the task is cancelled.
    func scan(_ registration: Registration) async throws -> Scan.Findings? {
        defer { needsNoRescans() }
        let waitQueue = WaitQueue(queue: queue, consumer: registration.name)
        while !Task.isCancelled, !state.isPaused, state.registration == registration {
            switch try await nextWakeReason(waitQueue) {
            case .found(let found): return found
            case .rescan: continue
            case .idle: try await join(waitQueue)
            case .barred:
                await leaveWaitQueue()
                handle { $0.barred() }
            case .busy:
                await leaveWaitQueue()
                let others = try await waitQueue.hasOtherConsumers()
                if handle({ $0.otherConsumersWait(others) }) { return nil }
            case .full: return nil
            }
        }
        return nil
    }

    private func join(_ waitQueue: WaitQueue) async throws {
        do {
            // Never abandoned halfway: a position without a consumer would keep other
            // consumers from becoming the first.
            let former = state.formerPosition
            let name = try await Task { try await waitQueue.join(after: former) }.value
            handle { $0.joined(name) }
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // Without the permission for the wait queue, a consumer waits alone, as consumers of older releases do.
            handle { $0.barred() }
            queue.logger.notice("A consumer has no permission to join the wait queue")
        }
    }

    func leaveWaitQueue() async {
        guard let left = handle({ $0.leaveWaitQueue() }) else { return }
        let waitQueue = WaitQueue(queue: queue, consumer: "")
        // Runs in a separate task, which is not cancelled. A position that stays lasts until the session ends, and until
        // then the second consumer in the wait queue checks the items itself.
        await Task { await removeWithRetry { try await waitQueue.leave(left) } }.value
    }

    private func nextWakeReason(_ waitQueue: WaitQueue) async throws -> WakeReason {
        let (store, tree) = (queue.store, queue.tree)
        let retry = queue.skipped.nextRetry(in: [tree.items, tree.earlier])
        let requests = rescanRequests()
        let scan = handle { $0.scanBegins() }
        defer { handle { $0.scanEnds() } }
        return try await withThrowingTaskGroup(of: WakeReason.self) { group in
            if scan.position == .outside {
                group.addTask {
                    // A timer is needed, because the absence of messages is no event.
                    try await store.sleep(for: WaitQueue.idleTime)
                    return .idle
                }
            }
            group.addTask {
                if case .waiting(let name) = scan.position {
                    if scan.isForced, let reason = try await self.listOnce() { return reason }
                    do {
                        guard try await waitQueue.untilFirst(name) else {
                            await self.positionIsGone(name)
                            return .rescan
                        }
                    } catch let error as ZooKeeperError where error.code == .noAuth {
                        return .barred
                    }
                    await self.becameFirst(name)
                    // The next scan lists the messages, and tries skipped ones again.
                    return .rescan
                }
                return try await self.untilListed()
            }
            group.addTask {
                for await _ in requests { break }
                return .rescan
            }
            // Only a consumer that lists the messages itself can try a skipped one again.
            if let retry, scan.listsMessages {
                group.addTask {
                    // A timer is needed, because no event tells that a node was repaired.
                    try await store.sleep(for: Swift.max(.milliseconds(100), retry - store.now))
                    return .rescan
                }
            }
            for name in scan.watched {
                group.addTask {
                    for try await node in store.dataUpdatesUntilDeleted(of: tree.item(name))
                    where node?.stat.version != 0 { break }
                    return .rescan
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .rescan
        }
    }

    private func becameFirst(_ name: String) { handle { $0.becameFirst(name) } }

    private func positionIsGone(_ name: String) { handle { $0.positionIsGone(name) } }

    /// Reads both folders, and reads them again after each change, until there is a reason to stop waiting.
    private func untilListed() async throws -> WakeReason {
        let (store, tree, usesEarlier) = (queue.store, queue.tree, state.epoch.usesEarlier)
        handle { $0.listingBegins(now: now) }
        return try await withThrowingTaskGroup(of: WakeReason.self) { group in
            group.addTask {
                for try await children in store.childrenUpdates(of: tree.items) {
                    guard let children else { throw Self.missing(tree.items) }
                    if let reason = try await self.listed(children.names) { return reason }
                }
                // The sequence ends with its client or its task. This read throws the corresponding error.
                _ = try await store.exists(tree.items)
                return .rescan
            }
            if usesEarlier {
                group.addTask {
                    for try await children in store.childrenUpdates(of: tree.earlier) {
                        guard let children else { throw Self.missing(tree.earlier) }
                        if let reason = try await self.listed(earlier: children) { return reason }
                    }
                    return .rescan
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .rescan
        }
    }

    /// Reads both folders once.
    private func listOnce() async throws -> WakeReason? {
        let (store, tree) = (queue.store, queue.tree)
        handle { $0.listingBegins(now: now) }
        let reason = try await listed(try await store.children(of: tree.items).names)
        guard reason == nil, state.scan?.earlier == nil else { return reason }
        return try await listed(earlier: try await store.children(of: tree.earlier))
    }

    private func listed(_ names: [String]) async throws -> WakeReason? {
        handle { $0.listed(names) }
        // A rollover moves messages from `items` to `earlier`. Read in this order, each message
        // is in one of the two lists.
        if state.epoch.phase != .open {
            let earlier = try await queue.store.children(of: queue.tree.earlier)
            handle { $0.listed(earlier: earlier) }
        }
        return try await evaluateScan()
    }

    private func listed(earlier children: NodeChildren) async throws -> WakeReason? {
        handle { $0.listed(earlier: children) }
        return try await evaluateScan()
    }

    private func evaluateScan() async throws -> WakeReason? {
        switch handle({ $0.evaluateScan(usable: queue.skipped.usable(_:in:), now: now) }) {
        case .wait: return nil
        case .busy: return .busy
        case .found(let found): return .found(found)
        case .full: return .full
        case .mayHaveMoved:
            // Another task may adopt the change first.
            if try await readEpoch() || state.scanIsOutdated { return .rescan }
            handle { $0.foundNothing() }
            return nil
        }
    }

    private static func missing(_ path: String) -> ZooKeeperError {
        ZooKeeperError(code: .noNode, path: path, sent: true)
    }
}
