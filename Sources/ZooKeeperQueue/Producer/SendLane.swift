import DequeModule
import ZooKeeper

/// The order of a producer's messages, and what is stored of them: a value, apart from the store that it is driven by.
///
/// A lane is a node whose version counts the producer's batches. Each batch is one multi that first raises the version
/// and then creates the messages, so that repeating it after a lost reply can never store it twice: the version does
/// not fit a second time. Several batches may be under way, each at the version that the one before it leaves: when one is
/// not applied, no later one can be, so that their order holds.
struct SendLane: Sendable {
    /// One message on its way.
    struct Entry {
        let send: SendID
        /// Its place among the messages of one send.
        let index: Int
        let priority: Int
        /// The bytes of a node of its own.
        let data: [UInt8]
        /// What the create of a node of its own adds to a multi, in bytes.
        let size: Int
        /// The name of the node that remembers the message's id.
        var id: String?
        /// Whether it may go to a queue with a bound.
        var isAdmitted = false

        var place: Place { Place(send: send, index: index) }
    }

    /// Tells a message from all others of the producer.
    struct Place: Hashable {
        let send: SendID
        let index: Int
    }

    /// What one multi carries.
    struct Batch {
        let version: Int32
        let entries: [Entry]
        /// The end of its last attempt: the messages' names, or an error.
        var landing: Result<[String?], any Error>?
    }

    /// In the order of the sends. Messages of withdrawn sends can be among them, but not at either end.
    private var waiting: Deque<Entry> = []
    /// How many messages of each withdrawn send are still in ``waiting``. They are passed over where they stand, because
    /// looking for each of them would take the square of the time when many sends are cancelled at once.
    private var withdrawn: [SendID: Int] = [:]
    private var withdrawnMessages = 0
    /// What is under way, or unresolved, in the order of the versions; all later messages wait behind it.
    private(set) var batches: Deque<Batch> = []
    /// How many of the first batches were sent without an answer, so that they may be stored already.
    private(set) var unresolved = 0
    /// Whether a batch was not stored at its first attempt, so that no new one is sent before that is settled.
    private(set) var isHalted = false
    /// The version that the next batch finds.
    private(set) var version: Int32 = 0

    /// The send of the message that was stored last. Only this one can be stored in part, because sends keep their order.
    private var lastStored: SendID?

    /// Whether the queue has a bound, so that only what is admitted goes.
    var isGated = false

    let maximumBytes: Int
    let maximumOperations: Int
    /// The most batches under way, and how many messages must have gathered for another one: with less, waiting for the one
    /// that is under way costs the ensemble less.
    let maximumFlights: Int
    let minimumBatch: Int

    init(maximumBytes: Int, maximumOperations: Int, maximumFlights: Int = 4, minimumBatch: Int = 32) {
        self.maximumBytes = maximumBytes
        self.maximumOperations = maximumOperations
        self.maximumFlights = maximumFlights
        self.minimumBatch = minimumBatch
    }

    var isEmpty: Bool { waiting.isEmpty && batches.isEmpty }
    /// Whether something may be stored, though nobody knows.
    var isUnresolved: Bool { unresolved > 0 }
    /// Whether every batch has an answer, or an error.
    var hasLanded: Bool { batches.allSatisfy { $0.landing != nil } }

    /// Whether something waits to be admitted.
    var hasUnadmitted: Bool { isGated && waiting.last.map { !$0.isAdmitted } ?? false }
    /// Whether nothing is under way, and nothing waits but to be admitted.
    var isStuck: Bool { hasUnadmitted && batches.isEmpty && waiting.first.map { !$0.isAdmitted } ?? false }

    /// Lets sends go in their order, each as a whole, until one is refused.
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

    /// Whether a part of a send that waits is stored. Such a send goes on, even when the queue got a bound only afterwards.
    func hasBegun(_ send: SendID) -> Bool { send == lastStored }

    /// Sends are admitted in their order, so that the admitted ones come first.
    private var firstUnadmitted: Int {
        var (start, end) = (waiting.startIndex, waiting.endIndex)
        while start < end {
            let middle = start + (end - start) / 2
            if waiting[middle].isAdmitted { start = middle + 1 } else { end = middle }
        }
        return start
    }

    /// The first messages with an id that wait.
    func waitingWithIDs(_ limit: Int) -> [Entry] {
        Array(waiting.lazy.filter { $0.id != nil && withdrawn[$0.send] == nil }.prefix(limit))
    }

    mutating func append(_ entries: [Entry]) { waiting.append(contentsOf: entries) }

    /// A batch to be sent now: as many messages as have gathered and fit.
    mutating func nextBatch(overhead: Int) -> Batch? {
        guard !isHalted, !waiting.isEmpty, batches.count < maximumFlights,
            batches.isEmpty || waiting.count - withdrawnMessages >= minimumBatch
        else { return nil }
        var entries: [Entry] = []
        var bytes = overhead
        var operations = 0
        var ids: Set<String> = []
        while let entry = waiting.first, !isGated || entry.isAdmitted {
            bytes += entry.size
            operations += entry.id == nil ? 1 : 1 + BatchPlan.operationsOfAnID
            if operations > maximumOperations { break }
            // The second of an id would fail the batch, as if the first were stored.
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

    /// A batch has an answer, or an error.
    ///
    /// - Returns: the batches that are stored now, the first ones first, with the names of their messages.
    mutating func landed(_ version: Int32, _ landing: Result<[String?], any Error>) -> [([Entry], [String?])] {
        guard let index = batches.firstIndex(where: { $0.version == version }) else { return [] }
        batches[index].landing = landing
        if case .failure = landing { isHalted = true }
        var stored: [([Entry], [String?])] = []
        while case .success(let names)? = batches.first?.landing, unresolved == 0 {
            stored.append((batches.removeFirst().entries, names))
        }
        noteStored(stored.last?.0)
        return stored
    }

    /// All that was under way has landed, and something has failed: sorts out what that says of each batch.
    ///
    /// One that a stored one follows is stored itself. Of the rest, the first ones that have no answer stay unresolved. What
    /// comes behind the first definite failure is certainly not stored, and may be sent again with what has gathered.
    ///
    /// - Returns: the batches that are stored, and the error of the first one that is not.
    mutating func sortOut() -> (stored: [([Entry], [String?])], error: (any Error)?) {
        var stored: [([Entry], [String?])] = []
        if let last = batches.lastIndex(where: { if case .success? = $0.landing { true } else { false } }) {
            for batch in batches.prefix(last + 1) {
                let names = (try? batch.landing?.get()) ?? .init(repeating: nil, count: batch.entries.count)
                stored.append((batch.entries, names))
            }
            batches.removeFirst(last + 1)
            unresolved = 0
            noteStored(stored.last?.0)
        }
        guard case .failure(let error)? = batches.first?.landing else {
            isHalted = false
            return (stored, nil)
        }
        unresolved =
            batches.prefix { batch in
                guard case .failure(let error as ZooKeeperError)? = batch.landing else { return false }
                return error.outcome == .unknown
            }.count
        // A definite failure of the first one is for the caller to judge; it is given back like those behind it.
        let rest = batches.dropFirst(unresolved)
        if let first = rest.first { version = first.version }
        waiting.prepend(contentsOf: rest.flatMap(\.entries))
        batches.removeLast(rest.count)
        isHalted = isUnresolved
        return (stored, error)
    }

    /// The first unresolved batch, to be sent again.
    var firstUnresolved: Batch? { isUnresolved ? batches.first : nil }

    /// What the version of the lane's node says after a batch was refused because of it.
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

    /// Judges the version that was found. A batch counts as stored only when this producer can have left that version:
    /// each unresolved batch raises it by one, and nothing else does.
    func verdict(on found: Int32) -> Verdict {
        let steps = Int(found) - Int(batches.first?.version ?? version)
        if steps == 0 { return .fits }
        if steps < 0 { return .behind }
        return steps <= unresolved ? .stored : .ahead
    }

    /// The first unresolved batch is stored.
    mutating func firstIsStored() -> [Entry] {
        guard let first = batches.popFirst() else { return [] }
        unresolved -= 1
        if unresolved == 0 { isHalted = false }
        noteStored(first.entries)
        return first.entries
    }

    private mutating func noteStored(_ entries: [Entry]?) { if let last = entries?.last { lastStored = last.send } }

    /// The first unresolved batch is not stored and never will be, and so are those behind it, which may be sent again.
    mutating func firstIsRefused() -> [Entry] {
        let count = batches.first?.entries.count ?? 0
        firstIsFree()
        defer { waiting.removeFirst(count) }
        return Array(waiting.prefix(count))
    }

    /// The first unresolved batch is not stored, and may be sent again, and so are those behind it.
    mutating func firstIsFree() {
        version = batches.first?.version ?? version
        waiting.prepend(contentsOf: batches.flatMap(\.entries))
        batches = []
        (unresolved, isHalted) = (0, false)
    }

    /// What is unresolved stays so for ever: its lane is gone.
    mutating func abandonUnresolved() -> [Entry] {
        defer {
            batches = []
            (unresolved, isHalted) = (0, false)
        }
        return batches.flatMap(\.entries)
    }

    /// A new lane's node is used from here on.
    mutating func renewed() { version = 0 }

    // MARK: Taking back

    /// Whether all messages of a send wait. It is asked about sends of which no message was finished or taken out.
    func isWaiting(_ send: SendID) -> Bool {
        guard let first = waiting.first else { return false }
        return send == first.send ? first.index == 0 : send.number > first.send.number
    }

    /// Withdraws a send that ``isWaiting(_:)``, of this many messages.
    mutating func withdraw(_ send: SendID, count: Int) {
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

    /// Removes single messages that wait. Messages that are under way or unresolved cannot be withdrawn.
    mutating func remove(_ entries: [Entry]) -> [Entry] {
        let (places, gone) = (Set(entries.map(\.place)), withdrawn)
        let matches = { (entry: Entry) in places.contains(entry.place) && gone[entry.send] == nil }
        let removed = Array(waiting.filter(matches))
        if removed.isEmpty { return [] }
        waiting.removeAll(where: matches)
        trimFront()
        trimBack()
        return removed
    }

    /// Removes all waiting messages.
    mutating func removeWaiting() -> [Entry] { removeWaiting(from: waiting.startIndex) }

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

    /// - Returns: whether the message was withdrawn. If so, counts it as removed.
    private mutating func forgetWithdrawn(_ send: SendID) -> Bool {
        guard let count = withdrawn[send] else { return false }
        withdrawn[send] = count > 1 ? count - 1 : nil
        withdrawnMessages -= 1
        return true
    }
}
