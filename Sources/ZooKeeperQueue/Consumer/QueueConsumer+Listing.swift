import Logging
import ZooKeeper

/// What is ready, and how a consumer waits for it.
extension QueueConsumer {
    struct Listing {
        let items: [ListedItem]
        let took: Duration
    }

    /// What the list is asked for while one is waited for.
    private enum Wakening { case listed(Listing), lookAgain, impatient, barred, busy, nothing }

    /// Lists what can be tried, as soon as there is something: a child was added, or one that was being written has
    /// changed. The list is read with a watch, which says when to read it again.
    ///
    /// - Returns: `nil` when there is nothing, and nothing to wait for, or the task is cancelled.
    func listing(_ registration: Registration) async throws -> Listing? {
        defer { lookAgain = nil }
        let line = IdleLine(queue: queue, consumer: registration.name)
        while !Task.isCancelled, self.registration == registration {
            switch try await nextWakening(line) {
            case .listed(let listing): return listing
            case .lookAgain: continue
            case .impatient: try await stand(in: line)
            case .barred: isLineBarred = true
            case .busy:
                await leaveLine()
                leavesToOthers = try await line.hasOthers() && !hasTakers
                if leavesToOthers { return nil }
            case .nothing: return nil
            }
        }
        return nil
    }

    private func stand(in line: IdleLine) async throws {
        do {
            // Never abandoned halfway: a place that nobody knows of would keep others from being first.
            place = try await Task { try await line.join() }.value
            isFirstInLine = false
        } catch let error as ZooKeeperError where error.code == .noAuth {
            // Without the right to stand in line, a consumer waits by itself, as those do that know of no line.
            isLineBarred = true
            queue.logger.notice("A consumer may not stand in the line of idle ones")
        }
    }

    func leaveLine() async {
        guard let left = place else { return }
        place = nil
        let line = IdleLine(queue: queue, consumer: "")
        // In a task of its own, which is not cancelled. What the last attempt leaves behind goes with the session; until
        // then the second in line looks for itself.
        await Task {
            for _ in 0..<3 {
                do {
                    return try await line.leave(left)
                } catch let error as ZooKeeperError where error.isPassing {
                    await error.pauseIfRefusedAtOnce(queue.store)
                } catch {
                    return
                }
            }
        }.value
    }

    private func nextWakening(_ line: IdleLine) async throws -> Wakening {
        let (store, tree) = (queue.store, queue.tree)
        let (place, isFirst, mustLook) = (place, isFirstInLine, mustLook)
        self.mustLook = false
        let watched = Array(unfilled.sorted().prefix(16))
        let retry = queue.skipped.nextRetry(in: [tree.items, tree.earlier])
        let (requests, lookAgain) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.lookAgain = lookAgain
        looks += 1
        hasLooked = false
        lists = Lists()
        // What is tried already, or will be, may still stand in the list.
        tried = Set((prepared + claiming).map(\.name))
        defer {
            unfilled.subtract(watched)
            lists = Lists()
        }
        return try await withThrowingTaskGroup(of: Wakening.self) { group in
            if place == nil, !isLineBarred {
                group.addTask {
                    // A time limit: that nothing has come is no event.
                    try await store.sleep(for: IdleLine.patience)
                    return .impatient
                }
            }
            group.addTask {
                if let place, !isFirst {
                    if mustLook, let wakening = try await self.look() { return wakening }
                    do {
                        guard try await line.untilFirst(place) else {
                            await self.placeIsGone(place)
                            return .lookAgain
                        }
                    } catch let error as ZooKeeperError where error.code == .noAuth {
                        return .barred
                    }
                    await self.placeIsFirst(place)
                }
                return try await self.untilListed()
            }
            group.addTask {
                for await _ in requests { break }
                return .lookAgain
            }
            // Only a consumer that lists the messages itself can try one again.
            if let retry, place == nil || isFirst {
                group.addTask {
                    // No event tells that a node was mended.
                    try await store.sleep(for: Swift.max(.milliseconds(100), retry - store.now))
                    return .lookAgain
                }
            }
            for name in watched {
                group.addTask {
                    for try await node in store.dataUntilDeleted(of: tree.item(name))
                    where node?.stat.version != 0 { break }
                    return .lookAgain
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .lookAgain
        }
    }

    private func placeIsFirst(_ place: String) { if self.place == place { isFirstInLine = true } }

    private func placeIsGone(_ place: String) { if self.place == place { self.place = nil } }

    /// Reads both lists, and again after each change, until there is something.
    private func untilListed() async throws -> Wakening {
        let (store, tree, usesEarlier) = (queue.store, queue.tree, epoch.usesEarlier)
        lists = Lists(since: store.now, earlier: usesEarlier ? nil : [])
        return try await withThrowingTaskGroup(of: Wakening.self) { group in
            group.addTask {
                for try await children in store.childrenUpdates(of: tree.items) {
                    guard let children else { throw Self.missing(tree.items) }
                    if let wakening = try await self.listed(children.names) { return wakening }
                }
                // The sequence ends with its client, or its task: a read says so.
                _ = try await store.exists(tree.items)
                return .lookAgain
            }
            if usesEarlier {
                group.addTask {
                    for try await children in store.childrenUpdates(of: tree.earlier) {
                        guard let children else { throw Self.missing(tree.earlier) }
                        if let wakening = try await self.listed(earlier: children) { return wakening }
                    }
                    return .lookAgain
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .lookAgain
        }
    }

    /// Reads both lists once.
    private func look() async throws -> Wakening? {
        let (store, tree, usesEarlier) = (queue.store, queue.tree, epoch.usesEarlier)
        lists = Lists(since: store.now, earlier: usesEarlier ? nil : [])
        let wakening = try await listed(try await store.children(of: tree.items).names)
        guard wakening == nil, lists.earlier == nil else { return wakening }
        return try await listed(earlier: try await store.children(of: tree.earlier))
    }

    private func listed(_ names: [String]) async throws -> Wakening? {
        lists.items = names
        // What is moved just now is in one list or the other, if they are read in this order.
        if epoch.phase != .open { lists.noteEarlier(try await queue.store.children(of: queue.tree.earlier)) }
        return try await judgeLists()
    }

    private func listed(earlier children: NodeChildren) async throws -> Wakening? {
        lists.noteEarlier(children)
        return try await judgeLists()
    }

    private func judgeLists() async throws -> Wakening? {
        guard let (names, earlier) = lists.complete(at: queue.store.now) else { return nil }
        var items = claimable(names) + claimable(earlier: earlier)
        if !tried.isEmpty {
            // What was seen to be gone, and comes again, is new.
            var stillThere: Set<ItemName> = []
            items.removeAll { tried.contains($0.name) && stillThere.insert($0.name).inserted }
            tried = stillThere
        }
        // What cannot be handed out at once is left to those who wait in the line.
        if !items.isEmpty, place != nil, !hasTakers { return .busy }
        if !items.isEmpty { return .listed(Listing(items: items, took: lists.took)) }
        if mustNotWait { return .nothing }
        // Nothing is there, unless it was moved away before this list was read. A move comes after the change of the epoch.
        if try await readEpoch() { return .lookAgain }
        hasLooked = true
        wakeTakers()
        return nil
    }

    /// Reads the epoch. When it has changed, what was listed and read before means nothing any more.
    @discardableResult
    func readEpoch() async throws -> Bool {
        let current = try await queue.sequenceEpoch()
        if current != epoch || sharedDeliveries == nil {
            // The version of the epoch also changes when the settings do.
            sharedDeliveries = try await queue.sharedSettings().maximumDeliveries
        }
        mustReadEpoch = false
        if current == epoch { return false }
        if current.number != epoch.number {
            // The names among the items are other messages now.
            unfilled = []
            queue.skipped.forget(queue.tree.items)
        }
        epoch = current
        forgetList()
        return true
    }

    /// The names among the items that can be tried for now.
    private func claimable(_ names: [String]) -> [ListedItem] {
        let now = queue.store.now
        if now - unfilledCleared > .seconds(1) {
            unfilled = []
            unfilledCleared = now
        }
        return queue.skipped.usable(names, in: queue.tree.items).compactMap { name in
            if !unfilled.isEmpty, unfilled.contains(name) { return nil }
            if let item = ItemName(name, inEpoch: epoch.number) { return ListedItem(name: item, isEarlier: false) }
            queue.skipped.skip(queue.tree.item(name), .unknownName)
            return nil
        }
    }

    private func claimable(earlier names: [String]) -> [ListedItem] {
        queue.skipped.usable(names, in: queue.tree.earlier).compactMap { name in
            if let item = ItemName(name) { return ListedItem(name: item, isEarlier: true) }
            queue.skipped.skip(queue.tree.earlier(name), .unknownName)
            return nil
        }
    }

    /// The consumer's rank among those that live: the part of one that has failed would be left for last, and come out
    /// of its order.
    func share(_ listing: Listing, _ registration: Registration) async throws -> ReadyList.Share {
        // For a single message it makes no difference who tries first.
        guard listing.items.count > 1 else { return .init() }
        let registered = try await queue.store.children(of: queue.tree.consumers).names
        guard registered.count > 1 else { return .init() }
        // Looked at again now and then alone, so that many consumers do not ask for each other at every list.
        let now = queue.store.now
        seenActive = seenActive.filter { registered.contains($0.key) && now - $0.value < .seconds(5) }
        let (store, tree, known) = (queue.store, queue.tree, seenActive)
        let found = try await withThrowingTaskGroup(of: String?.self) { group in
            for name in registered where known[name] == nil {
                group.addTask { try await store.exists(tree.consumer(name).active) == nil ? nil : name }
            }
            return try await group.reduce(into: []) { $0 += [$1].compactMap { $0 } }
        }
        for name in found { seenActive[name] = now }
        let active = seenActive.keys.sorted()
        guard let rank = active.firstIndex(of: registration.name) else { return .init() }
        return ReadyList.Share(rank: rank, consumers: active.count)
    }

    private static func missing(_ path: String) -> ZooKeeperError {
        ZooKeeperError(code: .noNode, message: "The node does not exist.", path: path, outcome: .notApplied)
    }
}
