import DequeModule
import Logging
import Synchronization
import ZooKeeper

extension QueueConsumer {
    /// Reads messages ahead of their claims, unless that is under way or enough are read.
    func readSoon() {
        guard !isReading, wantsToRead, toClaim <= readAhead / 2 else { return }
        isReading = true
        reader = Task.immediate {
            await read()
            await leaveLine()
            isReading = false
            // What was claimed while the reader ended has not started another one.
            if !Task.isCancelled, !mustNotWait { readSoon() }
        }
    }

    /// What is read and not claimed is nobody's: it costs others nothing.
    private var wantsToRead: Bool {
        phase == .open && failure == nil && iterators.load(ordering: .relaxed) > 0 && toClaim < readAhead
            && prepared.reduce(0) { $0 + $1.data.count } < 4 * queue.store.maximumRequestSize
            && !leavesToOthers
    }

    /// How many messages are read before their claims. An answer to a read comes after that of the step that was sent
    /// before it, so that one message alone would come too late for the next step.
    private var readAhead: Int { Swift.max(4, prefetch) }

    /// How many messages are read and not claimed.
    private var toClaim: Int { prepared.reduce(0) { $0 + $1.messages.count } }

    /// With all places taken there is nothing to wait for: the next settlement looks again.
    private var mustNotWait: Bool { free <= 0 }

    private func read() async {
        while wantsToRead, !Task.isCancelled {
            let generation = listGeneration
            do {
                let registration = try await register()
                if ready.isEmpty(now: queue.store.now) {
                    guard let listing = try await listing(registration) else { return }
                    let share = try await share(listing, registration)
                    guard generation == listGeneration else { continue }
                    ready.refill(
                        listing.names, share: share, prefetch: prefetch, listingTook: listing.took,
                        now: queue.store.now)
                }
                let names = ready.take(nodesToRead)
                let items = try await read(names)
                // Something that comes before it was dropped meanwhile.
                guard generation == listGeneration else { continue }
                // Somebody else is at the same part of the list.
                if items.count < names.count / 2 { ready.clear() }
                prepared += items
                preparedAt = queue.store.now
                if let last = items.last { (messagesPerNode, bytesPerNode) = (last.messages.count, last.data.count) }
                commitSoon()
            } catch is CancellationError {
                return forgetList()
            } catch {
                // What was not tried must not be overtaken by what comes after it in the list.
                forgetList()
                let cause = (error as? ZooKeeperError) ?? (error as? QueueError)?.cause
                if let cause, cause.isPassing {
                    await cause.pauseIfRefusedAtOnce(queue.store)
                    continue
                }
                return fail(error)
            }
        }
    }

    /// As many as are wanted, judged by the last one, and of long messages so few that they take no more than some requests.
    private var nodesToRead: Int {
        let count = (readAhead - toClaim) / Swift.max(1, messagesPerNode)
        let fitting = 4 * queue.store.maximumRequestSize / Swift.max(1, bytesPerNode)
        return Swift.max(1, Swift.min(count, fitting))
    }

    /// Forgets what was listed and read, so that it is looked at anew.
    func forgetList() {
        listGeneration += 1
        ready.clear()
        prepared = []
        lookAgain?.yield()
    }

    // MARK: Listing

    private struct Listing {
        let names: [ItemName]
        let took: Duration
    }

    /// What the list is asked for while one is waited for.
    private enum Wakening { case listed(Listing), lookAgain, impatient, barred, busy, nothing }

    /// Lists what can be tried, as soon as there is something: a child was added, or one that was being written has
    /// changed. The list is read with a watch, which says when to read it again.
    ///
    /// - Returns: `nil` when there is nothing, and nothing to wait for, or the task is cancelled.
    private func listing(_ registration: Registration) async throws -> Listing? {
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
                leavesToOthers = try await !line.isEmpty() && !hasTakers
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

    private func leaveLine() async {
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
        let (requests, lookAgain) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.lookAgain = lookAgain
        looks += 1
        hasLooked = false
        // What is tried already, or will be, may still stand in the list.
        tried = Set((prepared + claiming).map(\.name))
        defer { unfilled.subtract(watched) }
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
                    if mustLook {
                        let names = try await store.children(of: tree.items).names
                        if let wakening = await self.listed(names, took: .zero) { return wakening }
                    }
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
                let start = store.now
                var took: Duration?
                for try await children in store.childrenUpdates(of: tree.items) {
                    guard let children else { throw Self.missing(tree.items) }
                    took = took ?? store.now - start
                    if let wakening = await self.listed(children.names, took: took ?? .zero) {
                        return wakening
                    }
                }
                // The sequence ends with its client, or its task: a read says so.
                _ = try await store.exists(tree.items)
                return .lookAgain
            }
            group.addTask {
                for await _ in requests { break }
                return .lookAgain
            }
            for name in watched {
                group.addTask {
                    for try await node in store.data(of: tree.item(name)) where node?.stat.version != 0 { break }
                    return .lookAgain
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .lookAgain
        }
    }

    private func placeIsFirst(_ place: String) { if self.place == place { isFirstInLine = true } }

    private func placeIsGone(_ place: String) { if self.place == place { self.place = nil } }

    private func listed(_ names: [String], took: Duration) -> Wakening? {
        var items = claimable(names)
        if !tried.isEmpty {
            // What was seen to be gone, and comes again, is new.
            var stillThere: Set<ItemName> = []
            items.removeAll { tried.contains($0) && stillThere.insert($0).inserted }
            tried = stillThere
        }
        // What cannot be handed out at once is left to those who wait in the line.
        if !items.isEmpty, place != nil, !hasTakers { return .busy }
        if !items.isEmpty { return .listed(Listing(names: items, took: took)) }
        if mustNotWait { return .nothing }
        hasLooked = true
        wakeTakers()
        return nil
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
            if !ignored.isEmpty, ignored.contains(name) { return nil }
            if !unfilled.isEmpty, unfilled.contains(name) { return nil }
            if let item = ItemName(name) { return item }
            ignore(name, why: "its name is no item's")
            return nil
        }
    }

    func ignore(_ name: String, why: String) {
        ignored.insert(name)
        queue.logger.notice(
            "A node among the items is left alone", metadata: ["node": "\(queue.tree.item(name))", "why": "\(why)"])
    }

    /// The consumer's rank among those that live: the part of one that has failed would be left for last, and come out
    /// of its order.
    private func share(_ listing: Listing, _ registration: Registration) async throws -> ReadyList.Share {
        // For a single message it makes no difference who tries first.
        guard listing.names.count > 1 else { return .init() }
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

    // MARK: Reading

    /// Reads the messages at once; leaves out what is gone, still being written, or unknown.
    private func read(_ names: [ItemName]) async throws -> [ReadyItem] {
        let nodes = try await queue.store.get(names.map { queue.tree.item($0.string) })
        return zip(names, nodes).compactMap { name, node in node.flatMap { readyItem(name, $0) } }
    }

    private func readyItem(_ name: ItemName, _ node: Node) -> ReadyItem? {
        if node.data?.isEmpty ?? true, node.stat.version == 0 {
            // An older producer creates an item empty and fills it with a second write.
            unfilled.insert(name.string)
            return nil
        }
        if let item = ReadyItem(name: name, node: node) { return item }
        ignore(name.string, why: "its envelope is of a version or kind that this library does not know")
        return nil
    }
}
