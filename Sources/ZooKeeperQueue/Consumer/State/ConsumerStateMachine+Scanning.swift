import DequeModule
import ZooKeeper

/// Which messages the consumer lists and reads, and when it waits for more.
extension ConsumerStateMachine {
    // MARK: The reader

    /// Starts to read messages ahead of their claims, unless that is under way or enough are read.
    mutating func readIfNeeded() {
        guard !isReading, wantsToRead, toClaim <= readAhead / 2 else { return }
        isReading = true
        emit(.read)
    }

    mutating func readerEnded(isCancelled: Bool) {
        isReading = false
        // A claim that was made while the reader ended did not start another reader.
        if !isCancelled, !mustNotWait { readIfNeeded() }
    }

    /// Messages that are read and not claimed belong to no consumer: they cost others nothing.
    var wantsToRead: Bool {
        phase == .open && failure == nil && iterators.isPositive && toClaim < readAhead
            && prepared.reduce(0) { $0 + $1.data.count } < 4 * queue.store.maximumRequestSize
            && !yieldsToIdle
    }

    /// How many messages are read before their claims. An answer to a read comes after that of the transaction that was
    /// sent before it, so that one message alone would come too late for the next transaction.
    private var readAhead: Int { max(4, prefetch) }

    /// How many messages are read and not claimed.
    private var toClaim: Int { prepared.reduce(0) { $0 + $1.messages.count } }

    /// With all leases taken there is nothing to wait for: the next settlement looks again.
    var mustNotWait: Bool { free() <= 0 }

    func needsList(now: Duration) -> Bool { ready.isEmpty(now: now) }

    /// Takes a new list.
    ///
    /// - Returns: whether it holds: a claim that was refused meanwhile has put messages back that this list lacks.
    mutating func refill(
        _ found: Scan.Findings, _ share: ReadyList.Share, since begun: ReadMark, now: Duration
    ) -> Bool {
        guard begun == mark else { return false }
        ready.refill(found.entries, share: share, prefetch: prefetch, listingTook: found.took, now: now)
        return true
    }

    /// The next messages to read: as many as are wanted, fewer when the last ones were long, so that reading takes only
    /// some requests.
    mutating func nextToRead() -> [ReadyList.Entry] {
        let count = (readAhead - toClaim) / max(1, largest.messages)
        let fitting = 4 * queue.store.maximumRequestSize / max(1, largest.bytes)
        return ready.take(max(1, min(count, fitting, Self.maximumReads)))
    }

    /// Reads under way at a time.
    private static let maximumReads = 1_024

    /// The nodes were read; `nil` is one that is gone.
    mutating func read(_ entries: [ReadyList.Entry], _ nodes: [Node?], since begun: ReadMark, now: Duration) {
        guard begun.generation == mark.generation else { return }
        // A message that comes before it must be read again.
        guard begun.rereads == mark.rereads else { return ready.putBack(entries) }
        let (found, isUpToDate) = messageNodes(entries, nodes)
        if !isUpToDate { ready.clear() }
        prepared += found
        preparedAt = now
        if !found.isEmpty {
            largest = (
                found.reduce(1) { max($0, $1.messages.count) }, found.reduce(1) { max($0, $1.data.count) }
            )
        }
        commitIfNeeded(now: now)
    }

    /// What was read; leaves out what is gone, still being written, or unknown.
    ///
    /// - Returns: the nodes, and whether the list is still worth following.
    private mutating func messageNodes(
        _ entries: [ReadyList.Entry], _ nodes: [Node?]
    ) -> (found: [MessageNode], isUpToDate: Bool) {
        var found: [MessageNode] = []
        for (entry, node) in zip(entries, nodes) {
            if let node {
                if let readable = messageNode(entry, node) { found.append(readable) }
            } else if epoch.phase != .open, !entry.isEarlier {
                // It may have been moved: what comes after it must not overtake it.
                return (found, false)
            }
        }
        // With less, another consumer is at the same part of the list.
        return (found, found.count >= entries.count / 2)
    }

    private mutating func messageNode(_ entry: ReadyList.Entry, _ node: Node) -> MessageNode? {
        if node.data?.isEmpty ?? true, node.stat.version == 0, !entry.isEarlier {
            // An older producer creates an item empty and fills it with a second write.
            incomplete.insert(entry.name.untagged)
            return nil
        }
        if let readable = MessageNode(entry, node: node) { return readable }
        emit(.skip(path: entry.path(in: queue.tree), .unknownContent))
        return nil
    }

    /// Forgets the list and the messages that were read, so that the reader lists again.
    mutating func forgetList() {
        mark.generation += 1
        ready.clear()
        prepared = []
        emit(.rescan)
    }

    /// Reads again what was read and not claimed, the given nodes first: another consumer may have some of it. The list
    /// stays, so that a deep queue is not listed for each refused claim.
    mutating func reread(_ nodes: [MessageNode]) {
        mark.rereads += 1
        ready.putBack((nodes + prepared).map(\.entry))
        prepared = []
        // A reader that waits for new messages does not need these.
        emit(.rescan)
    }

    // MARK: Waiting for messages

    /// What a scan says of the two folders.
    enum Judgement: Sendable {
        /// One of the folders is still to be read, or nothing is there: the consumer goes on waiting.
        case wait
        case found(Scan.Findings)
        /// Messages are there that cannot be handed out at once.
        case busy
        /// Nothing is there, and all leases are taken.
        case full
        /// Nothing is there, unless it was moved away before its folder was read: a move comes after the change of the
        /// epoch.
        case mayHaveMoved
    }

    mutating func scanBegins() -> Scan {
        let scan = Scan(
            from: position, isForced: needsScan, watching: Array(incomplete.sorted().prefix(Self.maximumWatched)))
        self.scan = scan
        needsScan = false
        scans += 1
        didScan = false
        // Messages that are claimed already, or will be, may still stand in the folder.
        tried = Set((prepared + claiming).map(\.name))
        return scan
    }

    private static let maximumWatched = 16

    mutating func scanEnds() {
        if let scan { incomplete.subtract(scan.watched) }
        scan = nil
    }

    /// Begins to read both folders.
    mutating func listingBegins(now: Duration) { scan?.listingBegins(now: now, usesEarlier: epoch.usesEarlier) }

    mutating func listed(_ names: [String]) { scan?.listed(names) }

    mutating func listed(earlier children: NodeChildren) { scan?.listed(earlier: children) }

    /// Judges what the scan has read of the two folders.
    ///
    /// - Parameter usable: returns those of a folder's names that are not skipped.
    mutating func judgeScan(usable: (_ names: [String], _ folder: String) -> [String], now: Duration) -> Judgement {
        guard let (items, earlier) = scan?.complete(at: now), let took = scan?.took else { return .wait }
        var entries =
            claimable(usable(items, queue.tree.items), now: now)
            + claimable(earlier: usable(earlier, queue.tree.earlier))
        if !tried.isEmpty {
            // What was seen to be gone, and comes again, is new.
            var stillThere: Set<ItemName> = []
            entries.removeAll { tried.contains($0.name) && stillThere.insert($0.name).inserted }
            tried = stillThere
        }
        // What cannot be handed out at once is left to those who wait in line.
        if !entries.isEmpty, position.name != nil, waiters.isEmpty { return .busy }
        if !entries.isEmpty { return .found(Scan.Findings(entries: entries, took: took)) }
        return mustNotWait ? .full : .mayHaveMoved
    }

    /// The folders are empty, and nothing was moved.
    mutating func foundNothing() {
        didScan = true
        wake()
    }

    /// The names among the items that can be tried for now.
    private mutating func claimable(_ names: [String], now: Duration) -> [ReadyList.Entry] {
        if now - incompleteClearedAt > .seconds(1) {
            incomplete = []
            incompleteClearedAt = now
        }
        return names.compactMap { name in
            if !incomplete.isEmpty, incomplete.contains(name) { return nil }
            if let name = ItemName(name, inEpoch: epoch.number) { return ReadyList.Entry(name: name, isEarlier: false) }
            emit(.skip(path: queue.tree.item(name), .unknownName))
            return nil
        }
    }

    private mutating func claimable(earlier names: [String]) -> [ReadyList.Entry] {
        names.compactMap { name in
            if let name = ItemName(name) { return ReadyList.Entry(name: name, isEarlier: true) }
            emit(.skip(path: queue.tree.earlier(name), .unknownName))
            return nil
        }
    }

    // MARK: The wait queue

    mutating func joined(_ name: String) { position = .waiting(name) }

    mutating func barred() { position = .barred }

    mutating func becameFirst(_ name: String) {
        if position == .waiting(name) { position = .first(name) }
    }

    mutating func positionIsGone(_ name: String) {
        if position.name == name { position = .outside }
    }

    /// - Returns: the position that is to be left.
    mutating func leaveLine() -> String? {
        guard let name = position.name else { return nil }
        positionIsGone(name)
        return name
    }

    /// Whether other consumers wait in line, while this one has messages that no caller waits for.
    mutating func othersWait(_ others: Bool) -> Bool {
        yieldsToIdle = others && waiters.isEmpty
        return yieldsToIdle
    }

    // MARK: The epoch

    /// Whether the settings must be read with the epoch. Its version changes also when they do.
    func needsSettings(with current: SequenceEpoch) -> Bool { current != epoch || sharedDeliveries == nil }

    /// The epoch was read. A change of it makes the list and the messages that were read invalid.
    ///
    /// - Returns: whether it has changed, and whether the names among the items are other messages now.
    mutating func epochRead(_ current: SequenceEpoch, maximumDeliveries: Int??) -> (changed: Bool, isAnother: Bool) {
        if let maximumDeliveries { sharedDeliveries = .some(maximumDeliveries) }
        needsEpoch = false
        if current == epoch { return (false, false) }
        let isAnother = current.number != epoch.number
        if isAnother { incomplete = [] }
        epoch = current
        forgetList()
        return (true, isAnother)
    }

    // MARK: Shares

    /// Forgets the consumers that were seen to live long ago.
    ///
    /// - Returns: those that are not known to live.
    mutating func pruneActive(among registered: [String], now: Duration) -> [String] {
        // Looked at again now and then alone, so that many consumers do not ask for each other at every list.
        seenActive = seenActive.filter { registered.contains($0.key) && now - $0.value < .seconds(5) }
        return registered.filter { seenActive[$0] == nil }
    }

    /// The consumer's rank among those that live: the part of one that has failed would be left for last, and come out
    /// of its order.
    mutating func share(foundActive found: [String], _ registration: Registration, now: Duration) -> ReadyList.Share {
        for name in found { seenActive[name] = now }
        let active = seenActive.keys.sorted()
        guard let rank = active.firstIndex(of: registration.name) else { return .init() }
        return ReadyList.Share(rank: rank, consumers: active.count)
    }
}
