import DequeModule
import ZooKeeper

/// The order of a producer's messages, and which of them are stored: a value that is independent of the store.
///
/// The version of the producer's node counts its batches. Each batch is one multi that first raises the version and
/// then creates the messages. Repeating it after a lost reply can never store it twice, because the version no longer
/// matches. Several batches may be in flight, each at the version that the one before it leaves. When a batch is not
/// applied, no later one can be, so their order holds.
struct ProducerSequence: Sendable {
    /// A message that is not stored yet.
    struct Entry {
        let send: UnresolvedSend
        /// The index among the messages of its send.
        let index: Int
        let priority: Int
        /// The data of the message's node, if the node holds no other message.
        var data: [UInt8]
        /// The bytes that the create of such a node adds to a multi.
        let size: Int
        /// The name of the node that marks the message's ID as stored.
        var id: String?
        var delivery = Delivery.now
        var expiry: Delivery?
        /// The group of the message.
        var group: GroupKey?
        /// Whether the message is stored below the group's node, behind the head.
        var waitsInGroup = false
        /// When the message is due, once the producer knows the ensemble's clock; `nil` for a message without a delay.
        var due: EnsembleTime?
        /// Whether the message may be sent to a queue with a capacity.
        var isAdmitted = false

        /// The most operations that store the message.
        var operations: Int {
            1 + (id == nil ? 0 : MessageCreation.operationsOfAnID) + (group == nil ? 0 : 1)
        }

        /// Whether the node holds no other message: each delayed one can be cancelled, and those of a group are
        /// delivered one after the other.
        var isStoredAlone: Bool { due != nil || group != nil }

        var key: EntryKey { EntryKey(send: send, index: index) }
    }

    /// Identifies a message among all messages of the producer.
    struct EntryKey: Hashable {
        let send: UnresolvedSend
        let index: Int
    }

    /// The messages of one multi.
    struct Batch {
        let version: Int32
        var entries: [Entry]
        /// How many of the messages belong to a group.
        let grouped: Int
        /// The result of the last attempt: the messages' names, or an error.
        var result: Result<[String?], any Error>?

        init(version: Int32, entries: [Entry]) {
            (self.version, self.entries) = (version, entries)
            grouped = entries.count { $0.group != nil }
        }
    }

    /// The waiting messages, in the order of the sends. Messages of withdrawn sends can be among
    /// them, but not at either end.
    private var waiting: Deque<Entry> = []
    /// How many messages of each withdrawn send are still in ``waiting``. They are removed only when they reach an end,
    /// because searching for each of them would take quadratic time when many sends are cancelled at once.
    private var withdrawn: [UnresolvedSend: Int] = [:]
    private var withdrawnMessages = 0
    /// The batches that are in flight or unresolved, in the order of their versions. All later
    /// messages wait behind them.
    private(set) var batches: Deque<Batch> = []
    /// How many of the first batches were sent without a reply, so they may have been stored.
    private(set) var unresolved = 0
    /// Whether a batch was not stored at its first attempt. No new batch is sent until that is resolved.
    private(set) var isHalted = false
    /// The version that the next batch expects.
    private(set) var version: Int32 = 0

    /// The send of the message that was stored last. Only this send can be stored in part, because sends keep their
    /// order.
    private var lastStored: UnresolvedSend?

    /// Whether the queue has a capacity, so only admitted messages are sent.
    var isGated = false

    let maximumBytes: Int
    let maximumOperations: Int
    /// The most batches in flight, and how many messages must be waiting for another one. With fewer, waiting for a
    /// batch in flight costs the ensemble less.
    let maximumBatchesInFlight: Int
    let minimumBatch: Int

    init(maximumBytes: Int, maximumOperations: Int, maximumBatchesInFlight: Int = 4, minimumBatch: Int = 32) {
        self.maximumBytes = maximumBytes
        self.maximumOperations = maximumOperations
        self.maximumBatchesInFlight = maximumBatchesInFlight
        self.minimumBatch = minimumBatch
    }

    var isEmpty: Bool { waiting.isEmpty && batches.isEmpty }
    /// Whether a batch without a known outcome may have been stored.
    var isUnresolved: Bool { unresolved > 0 }
    /// Whether every batch has a reply or an error.
    var allCompleted: Bool { batches.allSatisfy { $0.result != nil } }

    /// Whether a message waits to be admitted.
    var hasUnadmitted: Bool { isGated && waiting.last.map { !$0.isAdmitted } ?? false }
    /// Whether no batch is in flight or unresolved, and the first waiting message is not admitted.
    var isStuck: Bool { hasUnadmitted && batches.isEmpty && waiting.first.map { !$0.isAdmitted } ?? false }

    /// Admits sends in their order, each as a whole, until `admits` refuses one.
    mutating func admit(_ admits: (Deque<Entry>.SubSequence) -> Bool) {
        guard hasUnadmitted else { return }
        var start = firstUnadmitted
        while start < waiting.endIndex {
            let send = waiting[start].send
            let end = waiting[start...].firstIndex { $0.send != send } ?? waiting.endIndex
            guard withdrawn[send] != nil || admits(waiting[start..<end]) || hasBegun(send) else { return }
            for index in start..<end { waiting[index].isAdmitted = true }
            start = end
        }
    }

    /// Whether a part of a waiting send is stored. Such a send continues, even when the capacity was set only after it
    /// began.
    func hasBegun(_ send: UnresolvedSend) -> Bool { send == lastStored }

    /// The index of the first message that is not admitted. A binary search, because sends are admitted in their order.
    private var firstUnadmitted: Int {
        var (start, end) = (waiting.startIndex, waiting.endIndex)
        while start < end {
            let middle = start + (end - start) / 2
            if waiting[middle].isAdmitted { start = middle + 1 } else { end = middle }
        }
        return start
    }

    /// Returns the first waiting messages that have an ID.
    func waitingWithIDs(_ limit: Int) -> [Entry] {
        Array(waiting.lazy.filter { $0.id != nil && withdrawn[$0.send] == nil }.prefix(limit))
    }

    mutating func append(_ entries: [Entry]) { waiting.append(contentsOf: entries) }

    /// Takes the next batch to send: as many waiting messages as fit.
    ///
    /// - Parameter maximumGrouped: the most messages of groups. A batch with such messages is in flight alone, because
    ///   it depends on the states of the groups, which are read just before it is sent.
    mutating func nextBatch(overhead: Int, maximumGrouped: Int = .max) -> Batch? {
        guard !isHalted, !waiting.isEmpty, batches.count < maximumBatchesInFlight,
            batches.isEmpty || waiting.count - withdrawnMessages >= minimumBatch,
            batches.allSatisfy({ $0.grouped == 0 })
        else { return nil }
        var entries: [Entry] = []
        var grouped = 0
        var bytes = overhead
        var operations = 0
        var ids: Set<String> = []
        while let entry = waiting.first, !isGated || entry.isAdmitted {
            bytes += entry.size
            operations += entry.operations
            if entry.group != nil {
                grouped += 1
                if !batches.isEmpty || grouped > maximumGrouped { break }
            }
            if operations > maximumOperations { break }
            // A second message with the same ID would fail the batch, as if the first one had been stored before.
            if let id = entry.id, !ids.insert(id).inserted { break }
            if bytes > maximumBytes, !entries.isEmpty { break }
            entries.append(entry)
            waiting.removeFirst()
            trimFront()
        }
        if entries.isEmpty { return nil }
        let batch = Batch(version: version, entries: entries)
        batches.append(batch)
        version &+= 1
        return batch
    }

    /// Records the reply to a batch, or its error.
    ///
    /// - Returns: the batches that are now stored, in order, with the names of their messages.
    mutating func completed(_ version: Int32, _ result: Result<[String?], any Error>) -> [([Entry], [String?])] {
        guard let index = batches.firstIndex(where: { $0.version == version }) else { return [] }
        batches[index].result = result
        if case .failure = result { isHalted = true }
        var stored: [([Entry], [String?])] = []
        while case .success(let names)? = batches.first?.result, unresolved == 0 {
            stored.append((batches.removeFirst().entries, names))
        }
        noteStored(stored.last?.0)
        return stored
    }

    /// Determines what became of each batch, after all batches in flight have a result and one of them has failed.
    ///
    /// A batch before a stored one is stored itself. Of the remaining batches, the leading ones without a reply
    /// stay unresolved. The batches from the first definite failure on are certainly not stored. Their messages wait
    /// again, ahead of the others.
    ///
    /// - Returns: the batches that are stored, and the error of the first one that is not.
    mutating func reconcileBatches() -> (stored: [([Entry], [String?])], error: (any Error)?) {
        var stored: [([Entry], [String?])] = []
        if let last = batches.lastIndex(where: { if case .success? = $0.result { true } else { false } }) {
            for batch in batches.prefix(last + 1) {
                let names = (try? batch.result?.get()) ?? .init(repeating: nil, count: batch.entries.count)
                stored.append((batch.entries, names))
            }
            batches.removeFirst(last + 1)
            unresolved = 0
            noteStored(stored.last?.0)
        }
        guard case .failure(let error)? = batches.first?.result else {
            isHalted = false
            return (stored, nil)
        }
        unresolved =
            batches.prefix { batch in
                guard case .failure(let error as ZooKeeperError)? = batch.result else { return false }
                return error.outcome == .unknown
            }.count
        // The caller decides what a definite failure of the first batch means. Its messages wait again like
        // those of the batches behind it.
        let rest = batches.dropFirst(unresolved)
        if let first = rest.first { version = first.version }
        waiting.prepend(contentsOf: rest.flatMap(\.entries))
        batches.removeLast(rest.count)
        isHalted = isUnresolved
        return (stored, error)
    }

    /// The first unresolved batch, to be sent again.
    var firstUnresolved: Batch? { isUnresolved ? batches.first : nil }

    /// What the version of the producer's node says after it caused the refusal of a batch.
    enum Verdict {
        /// The first unresolved batch is stored.
        case stored
        /// The batch is not stored, and can be sent.
        case fits
        /// The ensemble has lost acknowledged batches, or another client has replaced the node.
        case behind
        /// Another client has written to the node.
        case ahead
    }

    /// Interprets the version that was found. A batch counts as stored only when this producer can have left that
    /// version: each unresolved batch raises it by one, and no other client writes to the node.
    func verdict(on found: Int32) -> Verdict {
        let difference = Int(found) - Int(batches.first?.version ?? version)
        if difference == 0 { return .fits }
        if difference < 0 { return .behind }
        return difference <= unresolved ? .stored : .ahead
    }

    /// Removes the first unresolved batch, which is stored.
    mutating func firstIsStored() -> [Entry] {
        guard let first = batches.popFirst() else { return [] }
        unresolved -= 1
        if unresolved == 0 { isHalted = false }
        noteStored(first.entries)
        return first.entries
    }

    private mutating func noteStored(_ entries: [Entry]?) { if let last = entries?.last { lastStored = last.send } }

    /// Removes the messages of the first unresolved batch, which is not stored and never will be. The batches behind it
    /// are not stored either, and their messages wait again.
    mutating func firstIsRefused() -> [Entry] {
        let count = batches.first?.entries.count ?? 0
        firstIsFree()
        defer { waiting.removeFirst(count) }
        return Array(waiting.prefix(count))
    }

    /// Makes the messages of the first unresolved batch and of those behind it wait again,
    /// because none of them is stored.
    mutating func firstIsFree() {
        version = batches.first?.version ?? version
        waiting.prepend(contentsOf: batches.flatMap(\.entries))
        batches = []
        (unresolved, isHalted) = (0, false)
    }

    /// Removes the unresolved batches. Their outcome will never be known, because the producer's node is gone.
    mutating func abandonUnresolved() -> [Entry] {
        defer {
            batches = []
            (unresolved, isHalted) = (0, false)
        }
        return batches.flatMap(\.entries)
    }

    /// Starts counting again, on a new node of the producer.
    mutating func renewed() { version = 0 }

    // MARK: Withdrawing

    /// Whether all messages of a send still wait. Call it only for a send of which no message was finished or removed.
    func isWaiting(_ send: UnresolvedSend) -> Bool {
        guard let first = waiting.first else { return false }
        return send == first.send ? first.index == 0 : send.number > first.send.number
    }

    /// Withdraws a send of `count` messages for which ``isWaiting(_:)`` is true.
    mutating func withdraw(_ send: UnresolvedSend, count: Int) {
        withdrawn[send] = count
        withdrawnMessages += count
        if 2 * withdrawnMessages > waiting.count {
            let gone = withdrawn
            waiting.removeAll { gone[$0.send] != nil }
            (withdrawn, withdrawnMessages) = ([:], 0)
        } else if waiting.first?.send == send {
            trimFront()
        } else if waiting.last?.send == send {
            trimBack()
        }
    }

    /// Removes single waiting messages. Messages that are in flight or unresolved cannot be withdrawn.
    mutating func remove(_ entries: [Entry]) -> [Entry] {
        let keys = Set(entries.map(\.key))
        return remove { keys.contains($0.key) }
    }

    /// Removes the single waiting messages that match.
    mutating func remove(where isWanted: (Entry) -> Bool) -> [Entry] {
        let gone = withdrawn
        let matches = { (entry: Entry) in gone[entry.send] == nil && isWanted(entry) }
        let removed = Array(waiting.filter(matches))
        if removed.isEmpty { return [] }
        waiting.removeAll(where: matches)
        trimFront()
        trimBack()
        return removed
    }

    /// Removes all waiting messages.
    mutating func removeWaiting() -> [Entry] { removeWaiting(from: waiting.startIndex) }

    /// Removes all messages of the waiting sends that have such a message.
    mutating func removeSends(with isWanted: (Entry) -> Bool) -> [Entry] {
        let sends = Set(waiting.lazy.filter(isWanted).map(\.send))
        return sends.isEmpty ? [] : remove(waiting.filter { sends.contains($0.send) })
    }

    /// Removes the messages of sends of which nothing is stored.
    mutating func removeUnbegun() -> [Entry] {
        removeWaiting(from: waiting.firstIndex { !hasBegun($0.send) } ?? waiting.endIndex)
    }

    /// Removes the messages that wait to be admitted.
    mutating func removeUnadmitted() -> [Entry] { hasUnadmitted ? removeWaiting(from: firstUnadmitted) : [] }

    private mutating func removeWaiting(from start: Int) -> [Entry] {
        var removed: [Entry] = []
        while waiting.count > start {
            let entry = waiting.removeLast()
            if !forgetWithdrawn(entry.send) { removed.append(entry) }
        }
        trimBack()
        return removed.reversed()
    }

    /// Drops withdrawn messages at the front.
    private mutating func trimFront() {
        while withdrawnMessages > 0, let first = waiting.first, forgetWithdrawn(first.send) { waiting.removeFirst() }
    }

    /// Drops withdrawn messages at the back.
    private mutating func trimBack() {
        while withdrawnMessages > 0, let last = waiting.last, forgetWithdrawn(last.send) { waiting.removeLast() }
    }

    /// Counts a message of a withdrawn send as removed.
    ///
    /// - Returns: whether the message's send was withdrawn.
    private mutating func forgetWithdrawn(_ send: UnresolvedSend) -> Bool {
        guard let count = withdrawn[send] else { return false }
        withdrawn[send] = count > 1 ? count - 1 : nil
        withdrawnMessages -= 1
        return true
    }
}
