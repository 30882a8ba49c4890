import Logging
import Synchronization
import ZooKeeper

/// A ready message as it was read, before it is claimed.
struct ReadyItem: Sendable {
    let name: ItemName
    let data: [UInt8]
    let envelope: Envelope
    let stat: Stat
}

extension QueueConsumer {
    /// Takes more messages, unless that is under way or enough are held.
    func refill() {
        guard filler == nil, wantsMore else { return }
        filler = Task {
            await fill()
            filler = nil
            // What was settled while the filler ended has not started another one.
            if wantsMore, !Task.isCancelled { refill() }
        }
    }

    /// Messages are taken many at a time: when none is left to hand out, or half of the places are free.
    private var wantsMore: Bool {
        phase == .open && failure == nil && iterators.load(ordering: .relaxed) > 0 && free > 0
            && (buffer.isEmpty || free >= (prefetch + 1) / 2) && !mustWaitForTaker
    }

    /// Whether a message is taken only when somebody waits for it, and by itself.
    ///
    /// When a consumer fails, a recovery counts a delivery of all that it held, since it cannot tell what had been handed
    /// out. A message that brings its consumer down each time would take those that wait behind it along to the dead
    /// letters; so what has come back before is not held in advance.
    private func isTakenAlone(_ name: ItemName) -> Bool {
        name.returns >= Swift.min(2, queue.settings.maximumDeliveries - 1)
    }

    private var mustWaitForTaker: Bool {
        guard let first = ready.first, isTakenAlone(first) else { return false }
        return !buffer.isEmpty || !hasTakers
    }

    private func fill() async {
        while wantsMore, !Task.isCancelled {
            do {
                let registration = try await register()
                if try await !claim(with: registration) { try await untilSomethingIsReady() }
            } catch is CancellationError {
                return
            } catch {
                let cause = (error as? ZooKeeperError) ?? (error as? QueueError)?.cause
                if let cause, cause.isPassing {
                    await cause.pauseIfRefusedAtOnce(queue.store)
                    continue
                }
                isPrepared = false
                fail(
                    (error as? ZooKeeperError).map { QueueError($0, while: "taking messages", queue: queue.path) }
                        ?? error)
                return
            }
        }
    }

    // MARK: Claiming

    /// Tries for some messages.
    ///
    /// - Returns: whether there may be more to try for.
    private func claim(with registration: Registration) async throws -> Bool {
        var names = ready.take(free, now: queue.store.now, isTakenAlone: isTakenAlone)
        if names.isEmpty {
            try await list(registration)
            if mustWaitForTaker { return true }
            names = ready.take(free, now: queue.store.now, isTakenAlone: isTakenAlone)
        }
        if names.isEmpty { return false }
        let items: [ReadyItem]
        do {
            items = try await read(names)
        } catch {
            // What was not tried must not be overtaken by what comes after it in the list.
            ready.clear()
            throw error
        }
        if items.isEmpty { return true }
        // A claim that is under way is never abandoned: what it took would be held by nobody.
        try await Task { try await self.commit(items, with: registration) }.value
        return true
    }

    private func list(_ registration: Registration) async throws {
        looks += 1
        let start = queue.store.now
        let names = try await queue.store.children(of: queue.tree.items).names
        let took = queue.store.now - start
        let items = claimable(names)
        let share = items.isEmpty ? ReadyList.Share() : try await share(of: registration)
        ready.refill(items, share: share, prefetch: prefetch, listingTook: took, now: queue.store.now)
    }

    /// The names that can be tried for now.
    private func claimable(_ names: [String]) -> [ItemName] {
        let now = queue.store.now
        if now - unfilledCleared > .seconds(1) {
            unfilled = []
            unfilledCleared = now
        }
        if !ignored.isEmpty { ignored.formIntersection(names) }
        return names.compactMap { name in
            if ignored.contains(name) || unfilled.contains(name) { return nil }
            if let item = ItemName(name) { return item }
            ignore(name, why: "its name is no item's")
            return nil
        }
    }

    private func ignore(_ name: String, why: String) {
        ignored.insert(name)
        queue.logger.notice(
            "A node among the items is left alone", metadata: ["node": "\(queue.tree.item(name))", "why": "\(why)"])
    }

    /// The consumer's rank among those that live: the part of one that has failed would be left for last, and come out
    /// of its order.
    private func share(of registration: Registration) async throws -> ReadyList.Share {
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

    /// Reads the messages at once; leaves out what is gone, still being written, or unknown.
    private func read(_ names: [ItemName]) async throws -> [ReadyItem] {
        let (store, tree) = (queue.store, queue.tree)
        let nodes = try await withThrowingTaskGroup(of: (Int, Node?).self) { group in
            for (index, name) in names.enumerated() {
                group.addTask {
                    do {
                        return (index, try await store.get(tree.item(name.string)))
                    } catch let error as ZooKeeperError where error.code == .noNode {
                        return (index, nil)
                    }
                }
            }
            return try await group.reduce(into: [Node?](repeating: nil, count: names.count)) { $0[$1.0] = $1.1 }
        }
        return zip(names, nodes).compactMap { name, node in node.flatMap { readyItem(name, $0) } }
    }

    private func readyItem(_ name: ItemName, _ node: Node) -> ReadyItem? {
        let data = node.data ?? []
        if data.isEmpty, node.stat.version == 0 {
            // An older producer creates an item empty and fills it with a second write.
            unfilled.insert(name.string)
            return nil
        }
        switch Envelope.read(data) {
        case .message(let envelope): return ReadyItem(name: name, data: data, envelope: envelope, stat: node.stat)
        case .unknown:
            ignore(name.string, why: "its envelope is of a version or kind that this library does not know")
            return nil
        }
    }

    /// Claims the messages, as many as are still there.
    private func commit(_ items: [ReadyItem], with registration: Registration) async throws {
        var items = items
        while !items.isEmpty {
            // What was not tried must not be overtaken by what comes after it in the list.
            guard self.registration == registration else { return ready.clear() }
            let batch = fitting(items, registration)
            do {
                let results = try await queue.store.multi(operations(batch, registration))
                guard results.count > 1, case .set(let stat) = results[1] else { return }
                hold(batch, token: stat.mzxid, registration)
                items.removeFirst(batch.count)
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                ready.clear()
                return await resolve(batch, registration)
            } catch let error as ZooKeeperError where error.code == .requestTooLarge && batch.count == 1 {
                ignore(batch[0].name.string, why: "it is too large for this client's maximumRequestSize")
                items.removeFirst()
            } catch let error as ZooKeeperError
                where error.code == .noNode && (error.operationIndex ?? .max) < 2
            {
                // The registration's own nodes are gone: its session has ended.
                return lose(registration)
            } catch let error as ZooKeeperError where [.noNode, .badVersion, .nodeExists].contains(error.code) {
                // Somebody else has it, or it has changed since it was read.
                guard let index = error.operationIndex, index >= 2 else { throw error }
                items.remove(at: (index - 2) / 2)
            } catch {
                ready.clear()
                throw error
            }
        }
    }

    /// One atomic step: only while the session lives (`active` is there), and with a zxid that is the fencing token.
    private func operations(_ items: [ReadyItem], _ registration: Registration) -> [Operation] {
        [.check(registration.paths.active), .set(registration.paths.path, data: [])]
            + items.flatMap { moves($0, registration) }
    }

    private func moves(_ item: ReadyItem, _ registration: Registration) -> [Operation] {
        [
            .delete(queue.tree.item(item.name.string), version: item.stat.version),
            .create(registration.paths.lease(item.name.string), data: item.data),
        ]
    }

    /// As many from the front as fit into one multi.
    private func fitting(_ items: [ReadyItem], _ registration: Registration) -> [ReadyItem] {
        let store = queue.store
        var bytes = operations([], registration).reduce(32) { $0 + store.size(of: $1) }
        let batch = items.prefix(400).prefix { item in
            bytes += moves(item, registration).reduce(0) { $0 + store.size(of: $1) }
            return bytes <= store.maximumRequestSize
        }
        return batch.isEmpty ? Array(items.prefix(1)) : Array(batch)
    }

    private func hold(_ items: [ReadyItem], token: Int64, _ registration: Registration) {
        // The session may have ended while the answer was on its way: a recovery gives them back.
        guard self.registration == registration else { return }
        for item in items {
            let lease = Lease(
                name: item.name, data: item.data, envelope: item.envelope, stat: item.stat, fencingToken: token,
                registration: registration)
            leases[item.name.string] = lease
            buffer.append(lease)
        }
        // What was said of the session meanwhile concerns these leases too.
        sessionChanged()
        wakeTakers()
    }

    /// The answer to a claim was lost: what stands below the consumer's own node is its own.
    private func resolve(_ items: [ReadyItem], _ registration: Registration) async {
        let store = queue.store
        // Also while the consumer closes, but not for ever then.
        var attempts = 0
        while self.registration == registration, phase == .open || attempts < 2 {
            attempts += 1
            do {
                // Later than the claim in the order of the session, so the claim is applied by now or never.
                try await store.sync(registration.paths.item)
                let held = Set(try await store.children(of: registration.paths.item).names)
                for item in items where held.contains(item.name.string) && leases[item.name.string] == nil {
                    guard let stat = try await store.exists(registration.paths.lease(item.name.string)) else {
                        continue
                    }
                    hold([item], token: stat.czxid, registration)
                }
                return
            } catch let error as ZooKeeperError where error.isPassing {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                return lose(registration)
            }
        }
    }

    // MARK: Waiting

    /// Returns when something may have become ready: a child was added, or one that was being written has changed.
    private func untilSomethingIsReady() async throws {
        let (store, tree) = (queue.store, queue.tree)
        let watched = Array(unfilled.sorted().prefix(16))
        let known = unfilled.union(ignored)
        let (requests, lookAgain) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.lookAgain = lookAgain
        defer { self.lookAgain = nil }
        wakeTakers()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for try await children in store.childrenUpdates(of: tree.items) {
                    guard let children else { throw Self.missing(tree.items) }
                    if children.names.contains(where: { !known.contains($0) }) { return }
                }
            }
            group.addTask { for await _ in requests { return } }
            for name in watched {
                group.addTask {
                    for try await node in store.data(of: tree.item(name)) where node?.stat.version != 0 { return }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
        unfilled.subtract(watched)
    }

    private static func missing(_ path: String) -> ZooKeeperError {
        ZooKeeperError(code: .noNode, message: "The node does not exist.", path: path, outcome: .notApplied)
    }
}
