import DequeModule
import ZooKeeper

/// Which messages the consumer lists and reads, and when it waits for more.
extension ConsumerStateMachine {
    // MARK: The reader

    /// Starts to read messages ahead of their claims, unless the reader is running or enough messages were read.
    mutating func readIfNeeded() {
        guard !isReading, wantsToRead, toClaim <= readAhead / 2 else { return }
        isReading = true
        emit(.read)
    }

    mutating func readerEnded(isCancelled: Bool) {
        isReading = false
        // A claim that was made while the reader ended has not started another reader.
        if !isCancelled, !hasNoFreeSlot { readIfNeeded() }
    }

    /// Whether to read more messages. Messages that were read but not claimed belong to no consumer, so they
    /// cost other consumers nothing.
    var wantsToRead: Bool {
        phase == .open && failure == nil && iterators.isPositive && toClaim < readAhead
            && prepared.reduce(0) { $0 + $1.bytes } < 4 * queue.store.maximumRequestSize
            && !yieldsToIdle && !isPaused
    }

    /// How many messages to read ahead of their claims. More than one, because the reply to a read arrives after that
    /// of the transaction that was sent before it, so a single message would come too late for the next transaction.
    private var readAhead: Int { max(4, prefetch) }

    /// How many messages were read but not claimed.
    private var toClaim: Int { prepared.reduce(0) { $0 + $1.messages.count } }

    /// Whether the consumer holds all the leases that it may. Then there is nothing to wait for, and the next
    /// settlement starts the reader again.
    var hasNoFreeSlot: Bool { free() <= 0 }

    func needsList(now: Duration) -> Bool { ready.isEmpty(now: now) }

    /// Adopts a new list.
    ///
    /// - Returns: `false` when a refused claim has put messages back in the meantime, which this list lacks.
    mutating func refill(
        _ found: Scan.Findings, _ share: ReadyList.Share, since revision: ListRevision, now: Duration
    ) -> Bool {
        guard revision == listRevision else { return false }
        ready.refill(found.entries, share: share, prefetch: prefetch, listingTook: found.took, now: now)
        return true
    }

    /// Takes the next messages to read: as many as are wanted, but fewer when the last ones were long, so that the read
    /// takes only a few requests.
    mutating func nextToRead() -> [ReadyList.Entry] {
        let count = (readAhead - toClaim) / max(1, largest.messages)
        let fitting = 4 * queue.store.maximumRequestSize / max(1, largest.bytes)
        return ready.take(max(1, min(count, fitting, Self.maximumReads)))
    }

    /// The most reads at a time.
    private static let maximumReads = 1_024

    /// Handles the nodes that were read. A node that is gone is `nil`.
    ///
    /// - Parameter followers: the messages that follow the heads of groups among the nodes, as far as they were read.
    mutating func read(
        _ entries: [ReadyList.Entry], _ nodes: [Node?], followers: [ItemName: GroupSuccession.Successor] = [:],
        since revision: ListRevision, now: Duration
    ) {
        guard revision.generation == listRevision.generation else { return }
        // An earlier message must be read again, and comes first.
        guard revision.rereads == listRevision.rereads else { return ready.putBack(entries) }
        var (found, isUpToDate) = messageNodes(entries, nodes)
        if !followers.isEmpty { for index in found.indices { found[index].successor = followers[found[index].name] } }
        if !isUpToDate { ready.clear() }
        prepared += found
        preparedAt = now
        if !found.isEmpty {
            largest = (
                found.reduce(1) { max($0, $1.messages.count) }, found.reduce(1) { max($0, $1.bytes) }
            )
        }
        commitIfNeeded(now: now)
    }

    /// Decodes the nodes that were read. Leaves out nodes that are gone, still being written, or of an unknown format.
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
                // A rollover may have moved it. Later messages must not overtake it.
                return (found, false)
            }
        }
        // When fewer are left, another consumer works on the same part of the list.
        return (found, found.count >= entries.count / 2)
    }

    private mutating func messageNode(_ entry: ReadyList.Entry, _ node: Node) -> MessageNode? {
        if node.data?.isEmpty ?? true, node.stat.version == 0, !entry.isEarlier {
            // An older producer creates an item empty and fills it with a second write.
            incomplete.insert(entry.name.untagged)
            return nil
        }
        if let readable = MessageNode(entry, node: node), handlesGroups || !readable.isHeadOfGroup { return readable }
        emit(.skip(path: entry.path(in: queue.tree), .unknownContent))
        return nil
    }

    /// Forgets the list and the messages that were read, so that the reader lists the messages again.
    mutating func forgetList() {
        listRevision.generation += 1
        ready.clear()
        prepared = []
        emit(.rescan)
    }

    /// Makes the reader read the unclaimed messages again, beginning with the given nodes, because another consumer may
    /// have claimed some of them. The list stays, because a long queue must not be listed again for each refused claim.
    mutating func reread(_ nodes: [MessageNode]) {
        listRevision.rereads += 1
        ready.putBack((nodes + prepared).map(\.entry))
        prepared = []
        // A reader that waits for new messages must read these ones first.
        emit(.rescan)
    }

    // MARK: Waiting for messages

    /// What a scan says about the two folders.
    enum ScanResult: Sendable {
        /// One of the folders was not read yet.
        case wait
        case found(Scan.Findings)
        /// There are messages that this consumer cannot hand out at once.
        case busy
        /// There are no messages, and the consumer holds all the leases that it may.
        case full
        /// There are no messages, unless a rollover has moved them out of a folder before that folder was read. The
        /// epoch changes before messages move.
        case mayHaveMoved
    }

    mutating func scanBegins() -> Scan {
        let scan = Scan(
            from: position, isForced: needsScan, watching: Array(incomplete.sorted().prefix(Self.maximumWatched)))
        self.scan = scan
        needsScan = false
        scans += 1
        didScan = false
        // Messages that are being claimed, or will be, may still be in the folder.
        tried = Set((prepared + claiming).map(\.name))
        return scan
    }

    private static let maximumWatched = 16

    mutating func scanEnds() {
        if let scan { incomplete.subtract(scan.watched) }
        scan = nil
    }

    /// Begins to read both folders.
    mutating func listingBegins(now: Duration) { scan?.listingBegins(now: now, in: epoch) }

    /// Whether the epoch has changed since the scan began to read the folders.
    var scanIsOutdated: Bool { scan?.epoch != epoch }

    mutating func listed(_ names: [String]) { scan?.listed(names) }

    mutating func listed(earlier children: NodeChildren) { scan?.listed(earlier: children) }

    /// Evaluates what the scan has read of the two folders.
    ///
    /// - Parameter usable: returns the names of a folder that are not skipped.
    mutating func evaluateScan(usable: (_ names: [String], _ folder: String) -> [String], now: Duration) -> ScanResult {
        guard let (items, earlier) = scan?.complete(at: now), let took = scan?.took else { return .wait }
        var entries =
            claimable(usable(items, queue.tree.items), now: now)
            + claimable(earlier: usable(earlier, queue.tree.earlier))
        if !tried.isEmpty {
            // A message that was gone and appears again is a new one.
            var stillThere: Set<ItemName> = []
            entries.removeAll { tried.contains($0.name) && stillThere.insert($0.name).inserted }
            tried = stillThere
        }
        // Messages that this consumer cannot hand out at once are left to the consumers in the wait queue.
        if !entries.isEmpty, position.name != nil, waiters.isEmpty { return .busy }
        if !entries.isEmpty { return .found(Scan.Findings(entries: entries, took: took)) }
        return hasNoFreeSlot ? .full : .mayHaveMoved
    }

    /// Records that the folders are empty, and that no messages were moved.
    mutating func foundNothing() {
        didScan = true
        wake()
    }

    /// Returns the entries among the names in `items` that can be claimed for now.
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

    mutating func joined(_ name: String) { (position, formerPosition) = (.waiting(name), name) }

    mutating func barred() { position = .barred }

    mutating func becameFirst(_ name: String) {
        if position == .waiting(name) { position = .first(name) }
    }

    mutating func positionIsGone(_ name: String) {
        if position.name == name { position = .outside }
    }

    /// Leaves the wait queue.
    ///
    /// - Returns: the position to delete.
    mutating func leaveWaitQueue() -> String? {
        guard let name = position.name else { return nil }
        positionIsGone(name)
        return name
    }

    /// Records whether other consumers are in the wait queue.
    ///
    /// - Returns: whether this consumer yields to them, because none of its own callers waits.
    mutating func otherConsumersWait(_ others: Bool) -> Bool {
        yieldsToIdle = others && waiters.isEmpty
        return yieldsToIdle
    }

    // MARK: The epoch

    /// Whether the settings must be read together with the epoch. The version of `epoch` also
    /// changes when the settings do.
    func needsAttributes(with current: SequenceEpoch) -> Bool { current != epoch || storedAttributes == nil }

    /// Begins to read the epoch.
    ///
    /// - Returns: the number of the read.
    mutating func epochReadBegins() -> Int {
        epochReads.begun += 1
        return epochReads.begun
    }

    /// Adopts the epoch that was read. A change invalidates the list and the messages that were read.
    ///
    /// - Parameter read: the number of the read. A result that arrives after that of a later read is ignored.
    /// - Returns: whether the epoch has changed, and whether the names in `items` now mean other messages.
    mutating func epochRead(_ current: SequenceEpoch, attributes: QueueAttributes?, read: Int, now: Duration) -> (
        changed: Bool, isAnother: Bool
    ) {
        if read < epochReads.adopted { return (false, false) }
        epochReads.adopted = read
        if let attributes {
            if attributes.leaseTimeout != self.attributes.leaseTimeout {
                // A silence under the old timeout counts.
                noticeSilence(now: now)
                timeoutKnownAt = now
                emit(.restartRenewal)
            }
            storedAttributes = attributes
        }
        needsEpoch = false
        pause(registration != nil && self.attributes.paused.contains(.consume))
        if current == epoch { return (false, false) }
        let isAnother = current.number != epoch.number
        if isAnother { incomplete = [] }
        epoch = current
        forgetList()
        return (true, isAnother)
    }

    /// Handles an epoch that cannot be read. The reader or the next transaction meets the same error.
    mutating func epochIsUnknown() {
        needsEpoch = true
        pause(false)
    }

    /// Pauses or resumes. The buffer is requeued by the next check of the buffer.
    mutating func pause(_ isPaused: Bool) {
        if self.isPaused == isPaused { return }
        self.isPaused = isPaused
        if isPaused {
            forgetList()
            emit(.oversee)
            emit(.restartOversight)
        } else {
            readIfNeeded()
        }
        wake()
    }

    // MARK: Shares

    /// Forgets the consumers that were last seen to live too long ago.
    ///
    /// - Returns: the consumers that are not known to live.
    mutating func pruneActive(among registered: [String], now: Duration) -> [String] {
        // A consumer is checked again only after five seconds, because many consumers must not
        // check each other at every list.
        seenActive = seenActive.filter { registered.contains($0.key) && now - $0.value < .seconds(5) }
        return registered.filter { seenActive[$0] == nil }
    }

    /// Returns the consumer's rank among the live consumers. Failed consumers do not count, because their parts would
    /// be claimed last, out of order.
    mutating func share(foundActive found: [String], _ registration: Registration, now: Duration) -> ReadyList.Share {
        for name in found { seenActive[name] = now }
        let active = seenActive.keys.sorted()
        guard let rank = active.firstIndex(of: registration.name) else { return .init() }
        return ReadyList.Share(rank: rank, consumers: active.count)
    }
}
