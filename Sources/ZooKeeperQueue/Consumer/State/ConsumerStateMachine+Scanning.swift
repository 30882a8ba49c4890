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

    /// How many messages are read before their claims. An answer to a read comes after that of the transaction that
    /// was sent
    /// before it, so that one message alone would come too late for the next transaction.
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
        _ listing: Listing, _ share: ReadyList.Share, since begun: ReadMark, now: Duration
    ) -> Bool {
        guard begun == mark else { return false }
        ready.refill(listing.items, share: share, prefetch: prefetch, listingTook: listing.took, now: now)
        return true
    }

    /// The next messages to read: as many as are wanted, fewer when the last ones were long, so that reading takes
    /// only some
    /// requests.
    mutating func nextToRead() -> [ListedItem] {
        let count = (readAhead - toClaim) / max(1, largest.messages)
        let fitting = 4 * queue.store.maximumRequestSize / max(1, largest.bytes)
        return ready.take(max(1, min(count, fitting, Self.maximumReads)))
    }

    /// Reads under way at a time.
    private static let maximumReads = 1_024

    /// The nodes were read; `nil` is one that is gone.
    mutating func read(_ listed: [ListedItem], _ nodes: [Node?], since begun: ReadMark, now: Duration) {
        guard begun.generation == mark.generation else { return }
        // A message that comes before it must be read again.
        guard begun.rereads == mark.rereads else { return ready.putBack(listed) }
        let (items, isUpToDate) = readyItems(listed, nodes)
        if !isUpToDate { ready.clear() }
        prepared += items
        preparedAt = now
        if !items.isEmpty {
            largest = (
                items.reduce(1) { max($0, $1.messages.count) }, items.reduce(1) { max($0, $1.data.count) }
            )
        }
        commitIfNeeded(now: now)
    }

    /// What was read; leaves out what is gone, still being written, or unknown.
    ///
    /// - Returns: the messages, and whether the list is still worth following.
    private mutating func readyItems(
        _ listed: [ListedItem], _ nodes: [Node?]
    ) -> (items: [ReadyItem], isUpToDate: Bool) {
        var items: [ReadyItem] = []
        for (listed, node) in zip(listed, nodes) {
            if let node {
                if let item = readyItem(listed, node) { items.append(item) }
            } else if epoch.phase != .open, !listed.isEarlier {
                // It may have been moved: what comes after it must not overtake it.
                return (items, false)
            }
        }
        // With less, another consumer is at the same part of the list.
        return (items, items.count >= listed.count / 2)
    }

    private mutating func readyItem(_ listed: ListedItem, _ node: Node) -> ReadyItem? {
        if node.data?.isEmpty ?? true, node.stat.version == 0, !listed.isEarlier {
            // An older producer creates an item empty and fills it with a second write.
            incomplete.insert(listed.name.untagged)
            return nil
        }
        if let item = ReadyItem(listed, node: node) { return item }
        emit(.skip(path: listed.path(in: queue.tree), .unknownContent))
        return nil
    }

    /// Forgets the list and the messages that were read, so that the reader lists again.
    mutating func forgetList() {
        mark.generation += 1
        ready.clear()
        prepared = []
        emit(.rescan)
    }

    /// Reads again what was read and not claimed, the given items first: another consumer may have some of it. The list
    /// stays, so that a deep queue is not listed for each refused claim.
    mutating func reread(_ items: [ReadyItem]) {
        mark.rereads += 1
        ready.putBack((items + prepared).map(\.listed))
        prepared = []
        // A reader that waits for new messages does not need these.
        emit(.rescan)
    }

    // MARK: Waiting for a list

    /// The items that can be tried, and how long it took to list them.
    struct Listing: Sendable {
        let items: [ListedItem]
        let took: Duration
    }

    /// A scan of the lists that begins.
    struct Scan: Sendable {
        let position: Position
        /// Whether the lists are read once although the consumer is not the first in line.
        let isForced: Bool
        /// Items that are being written. A change of one is a reason to look again.
        let watched: [String]

        /// Whether the consumer lists the messages although it is not in line, or is the first there.
        var listsByItself: Bool {
            if case .waiting = position { false } else { true }
        }
    }

    /// What the two lists say.
    enum Judgement: Sendable {
        /// One of the lists is still to come, or nothing is there: the consumer goes on waiting.
        case wait
        case listed(Listing)
        /// Messages are there that cannot be handed out at once.
        case busy
        /// Nothing is there, and all leases are taken.
        case full
        /// Nothing is there, unless it was moved away before this list was read: a move comes after the change of the
        /// epoch.
        case mayHaveMoved
    }

    mutating func scanBegins() -> Scan {
        let scan = Scan(
            position: position, isForced: needsScan, watched: Array(incomplete.sorted().prefix(Self.maximumWatched)))
        needsScan = false
        scans += 1
        didScan = false
        lists = Lists()
        // Messages that are claimed already, or will be, may still stand in the list.
        tried = Set((prepared + claiming).map(\.name))
        return scan
    }

    private static let maximumWatched = 16

    mutating func scanEnds(_ scan: Scan) {
        incomplete.subtract(scan.watched)
        lists = Lists()
    }

    /// Begins to read both lists.
    mutating func listingBegins(now: Duration) { lists = Lists(since: now, earlier: epoch.usesEarlier ? nil : []) }

    mutating func listed(_ names: [String]) { lists.items = names }

    mutating func listed(earlier children: NodeChildren) { lists.noteEarlier(children) }

    /// Judges the two lists. The names are those that are not skipped.
    mutating func judgeLists(usable: (_ names: [String], _ folder: String) -> [String], now: Duration) -> Judgement {
        guard let (names, earlier) = lists.complete(at: now) else { return .wait }
        var items =
            claimable(usable(names, queue.tree.items), now: now)
            + claimable(earlier: usable(earlier, queue.tree.earlier))
        if !tried.isEmpty {
            // What was seen to be gone, and comes again, is new.
            var stillThere: Set<ItemName> = []
            items.removeAll { tried.contains($0.name) && stillThere.insert($0.name).inserted }
            tried = stillThere
        }
        // What cannot be handed out at once is left to those who wait in line.
        if !items.isEmpty, position.name != nil, waiters.isEmpty { return .busy }
        if !items.isEmpty { return .listed(Listing(items: items, took: lists.took)) }
        return mustNotWait ? .full : .mayHaveMoved
    }

    /// The lists are empty, and nothing was moved.
    mutating func foundNothing() {
        didScan = true
        wake()
    }

    /// The names among the items that can be tried for now.
    private mutating func claimable(_ names: [String], now: Duration) -> [ListedItem] {
        if now - incompleteClearedAt > .seconds(1) {
            incomplete = []
            incompleteClearedAt = now
        }
        return names.compactMap { name in
            if !incomplete.isEmpty, incomplete.contains(name) { return nil }
            if let item = ItemName(name, inEpoch: epoch.number) { return ListedItem(name: item, isEarlier: false) }
            emit(.skip(path: queue.tree.item(name), .unknownName))
            return nil
        }
    }

    private mutating func claimable(earlier names: [String]) -> [ListedItem] {
        names.compactMap { name in
            if let item = ItemName(name) { return ListedItem(name: item, isEarlier: true) }
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

    /// The consumer's rank among those that live: the part of one that has failed would be left for last, and come
    /// out of its
    /// order.
    mutating func share(foundActive found: [String], _ registration: Registration, now: Duration) -> ReadyList.Share {
        for name in found { seenActive[name] = now }
        let active = seenActive.keys.sorted()
        guard let rank = active.firstIndex(of: registration.name) else { return .init() }
        return ReadyList.Share(rank: rank, consumers: active.count)
    }
}
