import DequeModule
import ZooKeeper

/// The order of a producer's messages, and what is stored of them: a value, apart from the store that it is driven by.
///
/// A lane is a node whose version counts the producer's batches. Each batch is one multi that first raises the version
/// and then creates the messages, so that repeating it after a lost reply can never store it twice: the version does
/// not fit a second time.
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
        /// By the store's clock.
        let deadline: Duration
    }

    private var waiting: Deque<Entry> = []
    /// What one multi carries; it stays until its outcome is certain, and all later messages wait behind it.
    private(set) var batch: [Entry] = []
    /// Whether the batch was sent without an answer, so that it may be stored already.
    private(set) var isBatchUnresolved = false
    /// The version that the lane's node has, as far as it is known.
    private(set) var version: Int32 = 0

    let maximumBytes: Int
    let maximumOperations: Int

    init(maximumBytes: Int, maximumOperations: Int) {
        self.maximumBytes = maximumBytes
        self.maximumOperations = maximumOperations
    }

    var isEmpty: Bool { waiting.isEmpty && batch.isEmpty }

    mutating func append(_ entries: [Entry]) { waiting.append(contentsOf: entries) }

    /// The multi's messages: the unresolved ones again, or as many as have gathered and fit.
    mutating func nextBatch(overhead: Int) -> [Entry] {
        guard batch.isEmpty else { return batch }
        var bytes = overhead
        while let entry = waiting.first, batch.count < maximumOperations {
            bytes += entry.size
            if bytes > maximumBytes, !batch.isEmpty { break }
            batch.append(entry)
            waiting.removeFirst()
        }
        return batch
    }

    /// The batch is stored.
    mutating func stored() -> [Entry] {
        version += 1
        return endBatch()
    }

    /// The batch is not stored, and never will be.
    mutating func refused() -> [Entry] { endBatch() }

    /// No answer came: it may be stored.
    mutating func unanswered() { isBatchUnresolved = true }

    /// A new lane's node is used from here on.
    mutating func renewed() { version = 0 }

    /// The batch was not sent, or certainly not stored, and may be tried again with what has gathered meanwhile.
    mutating func postponed() {
        guard !isBatchUnresolved else { return }
        waiting.prepend(contentsOf: endBatch())
    }

    /// Takes out what waits and matches; what is under way, or unresolved, cannot be taken back.
    mutating func removeWaiting(where matches: (Entry) -> Bool) -> [Entry] {
        let removed = Array(waiting.filter(matches))
        if !removed.isEmpty { waiting.removeAll(where: matches) }
        return removed
    }

    private mutating func endBatch() -> [Entry] {
        defer {
            batch = []
            isBatchUnresolved = false
        }
        return batch
    }
}
