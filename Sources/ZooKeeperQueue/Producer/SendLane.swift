import DequeModule
import ZooKeeper

/// The order of a producer's messages, and what is stored of them: a value, apart from the store that it is driven by.
///
/// A lane is a node whose version counts the producer's batches. Each batch is one multi that first raises the version
/// and then creates the messages, so that repeating it after a lost reply can never store it twice: the version does
/// not fit a second time. Several batches may be under way, each at the version that the one before it leaves: when one is
/// not applied, no later one can be, so that their order holds.
struct SendLane {
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
        /// By the store's clock.
        let deadline: Duration
        /// Whether it may go to a queue with a bound.
        var isAdmitted = false
    }

    /// What one multi carries.
    struct Batch {
        let version: Int32
        let entries: [Entry]
        /// The end of its last attempt: the messages' names, or an error.
        var landing: Result<[String?], any Error>?
    }

    private var waiting: Deque<Entry> = []
    /// What is under way, or unresolved, in the order of the versions; all later messages wait behind it.
    private(set) var batches: Deque<Batch> = []
    /// How many of the first batches were sent without an answer, so that they may be stored already.
    private(set) var unresolved = 0
    /// Whether a batch was not stored at its first attempt, so that no new one is sent before that is settled.
    private(set) var isHalted = false
    /// The version that the next batch finds.
    private(set) var version: Int32 = 0

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
        var start = waiting.firstIndex { !$0.isAdmitted } ?? waiting.endIndex
        while start < waiting.endIndex {
            let send = waiting[start].send
            let end = waiting[start...].firstIndex { $0.send != send } ?? waiting.endIndex
            guard admits(waiting[start..<end]) else { return }
            for index in start..<end { waiting[index].isAdmitted = true }
            start = end
        }
    }

    /// The first of what waits that has an id.
    func waitingWithIDs(_ limit: Int) -> [Entry] { Array(waiting.lazy.filter { $0.id != nil }.prefix(limit)) }

    mutating func append(_ entries: [Entry]) { waiting.append(contentsOf: entries) }

    /// A batch to be sent now: as many messages as have gathered and fit.
    mutating func nextBatch(overhead: Int) -> Batch? {
        guard !isHalted, !waiting.isEmpty, batches.count < maximumFlights,
            batches.isEmpty || waiting.count >= minimumBatch
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

    /// The first unresolved batch is stored.
    mutating func firstIsStored() -> [Entry] { endFirst() }

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

    /// Takes out what waits and matches; what is under way, or unresolved, cannot be taken back.
    mutating func removeWaiting(where matches: (Entry) -> Bool) -> [Entry] {
        let removed = Array(waiting.filter(matches))
        if !removed.isEmpty { waiting.removeAll(where: matches) }
        return removed
    }

    private mutating func endFirst() -> [Entry] {
        guard let first = batches.popFirst() else { return [] }
        unresolved -= 1
        if unresolved == 0 { isHalted = false }
        return first.entries
    }
}
