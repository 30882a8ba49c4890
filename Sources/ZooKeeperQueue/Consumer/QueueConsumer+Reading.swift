import DequeModule
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
    var mustNotWait: Bool { free() <= 0 }

    private func read() async {
        while wantsToRead, !Task.isCancelled {
            do {
                await renew()
                let registration = try await register()
                if mustReadEpoch { try await readEpoch() }
                let (generation, rereads) = (listGeneration, rereads)
                if ready.isEmpty(now: queue.store.now) {
                    guard let listing = try await listing(registration) else { return }
                    let share = try await share(listing, registration)
                    // A claim that was refused meanwhile has put messages back that this list lacks.
                    guard generation == listGeneration, rereads == self.rereads else { continue }
                    ready.refill(
                        listing.items, share: share, prefetch: prefetch, listingTook: listing.took,
                        now: queue.store.now)
                }
                let listed = ready.take(nodesToRead)
                let nodes = try await queue.readUsable(listed.map { $0.path(in: queue.tree) })
                guard generation == listGeneration else { continue }
                guard rereads == self.rereads else {
                    // A message that comes before it must be read again.
                    ready.putBack(listed)
                    continue
                }
                let (items, isUpToDate) = readyItems(listed, nodes)
                if !isUpToDate { ready.clear() }
                prepared += items
                preparedAt = queue.store.now
                noteSizes(items)
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
                if let cause, cause.code == .noNode, await restoreFolders() { continue }
                return fail(error)
            }
        }
    }

    /// Returns as many names as are wanted, fewer when the last messages were long, so that reading takes only some
    /// requests.
    private var nodesToRead: Int {
        let count = (readAhead - toClaim) / Swift.max(1, messagesPerNode)
        let fitting = 4 * queue.store.maximumRequestSize / Swift.max(1, bytesPerNode)
        return Swift.max(1, Swift.min(count, fitting, Self.maximumReads))
    }

    /// Reads under way at a time.
    private static let maximumReads = 1_024

    private func noteSizes(_ items: [ReadyItem]) {
        guard !items.isEmpty else { return }
        messagesPerNode = items.reduce(1) { Swift.max($0, $1.messages.count) }
        bytesPerNode = items.reduce(1) { Swift.max($0, $1.data.count) }
    }

    /// Creates the queue's folders that are missing, after ZooKeeper has said that one is.
    ///
    /// - Returns: whether all are there now: this consumer, or another member, has created them.
    func restoreFolders() async -> Bool {
        do {
            // Another member was faster, and this server may be behind, so the consumer does not try again at once.
            if try await !queue.restoreMissingFolders() { try? await queue.store.sleep(for: .milliseconds(50)) }
            return true
        } catch let error as ZooKeeperError where error.isPassing {
            await error.pauseIfRefusedAtOnce(queue.store)
            return true
        } catch {
            // The caller reports what failed. A missing root is one of the reasons.
            isPrepared = false
            return false
        }
    }

    /// Forgets what was listed and read, so that it is looked at anew.
    func forgetList() {
        listGeneration += 1
        ready.clear()
        prepared = []
        lookAgain?.yield()
    }

    /// Reads again what was read and not claimed, the given items first: another consumer may have some of it. The list stays,
    /// so that a deep queue is not listed for each refused claim.
    func reread(_ items: [ReadyItem]) {
        rereads += 1
        ready.putBack((items + prepared).map(\.listed))
        prepared = []
        // A reader that waits for new messages does not need these.
        lookAgain?.yield()
    }

    // MARK: Reading

    /// What was read; leaves out what is gone, still being written, or unknown.
    ///
    /// - Returns: the messages, and whether the list is still worth following.
    private func readyItems(_ listed: [ListedItem], _ nodes: [Node?]) -> (items: [ReadyItem], isUpToDate: Bool) {
        var items: [ReadyItem] = []
        for (listed, node) in zip(listed, nodes) {
            if let node {
                if let item = readyItem(listed, node) { items.append(item) }
            } else if epoch.phase != .open, !listed.isEarlier {
                // It may have been moved: what comes after it must not overtake it.
                return (items, false)
            }
        }
        // With less, somebody else is at the same part of the list.
        return (items, items.count >= listed.count / 2)
    }

    private func readyItem(_ listed: ListedItem, _ node: Node) -> ReadyItem? {
        if node.data?.isEmpty ?? true, node.stat.version == 0, !listed.isEarlier {
            // An older producer creates an item empty and fills it with a second write.
            unfilled.insert(listed.name.untagged)
            return nil
        }
        if let item = ReadyItem(listed, node: node) { return item }
        queue.skipped.skip(listed.path(in: queue.tree), .unknownContent)
        return nil
    }
}
