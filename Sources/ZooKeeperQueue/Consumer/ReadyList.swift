/// A consumer's share of the names of the ready messages, and its progress through them: a value.
///
/// Several consumers work on different parts of the list, by their rank among the live consumers, because a multi that
/// fails costs the ensemble as much as one that succeeds. The list is read again when it is used up or too old: a
/// message of higher priority may have arrived, and another consumer may have left its part unclaimed.
struct ReadyList {
    /// The name of a ready message's node, and which of the two folders the node is in.
    struct Entry: Sendable, Hashable, Comparable {
        let name: ItemName
        /// Whether the node is in `earlier`, and not in `items`.
        let isEarlier: Bool

        func path(in tree: QueueTree) -> String {
            isEarlier ? tree.earlier(name.string) : tree.item(name.untagged)
        }

        static func < (a: Entry, b: Entry) -> Bool { a.name < b.name }
    }

    /// A consumer's rank, and the number of live consumers.
    struct Share: Sendable, Hashable {
        var rank = 0
        var consumers = 1
    }

    private var entries: ArraySlice<Entry> = []
    /// Entries that were taken and must be tried again, before the others.
    private var returned: ArraySlice<Entry> = []
    private var validUntil: Duration?
    /// How often the list was read.
    private(set) var refills = 0

    /// Takes this consumer's share of all ready messages.
    ///
    /// - Parameter listingTook: how long it took to read the names.
    mutating func refill(_ all: [Entry], share: Share, prefetch: Int, listingTook: Duration, now: Duration) {
        refills += 1
        returned = []
        // Listing a long queue may take a twentieth of the time. Ten seconds at most, because the list must not become
        // too old even on a slow ensemble.
        validUntil = now + min(max(.seconds(1), listingTook * 20), .seconds(10))
        let sorted = all.sorted()
        guard share.consumers > 1 else {
            entries = sorted[...]
            return
        }
        let mine = part(of: share, sorted, prefetch)
        // With fewer messages than consumers, the consumers without a part try for any message.
        entries = (mine.isEmpty ? sorted : mine)[...]
    }

    /// Returns the part of a consumer.
    private func part(of share: Share, _ sorted: [Entry], _ prefetch: Int) -> [Entry] {
        let consumers = share.consumers
        // Every fourth time, each consumer takes the part of another one, because the part of a busy consumer would
        // otherwise wait for ever.
        let turn = refills % 4 == 0 ? refills / 4 : 0
        if sorted.count >= Self.blockSize * consumers {
            // Blocks of sequence numbers: messages that were claimed since another consumer listed the queue shift the
            // positions of the others, and then two consumers would try the same ones.
            let rank = (share.rank + turn) % consumers
            return sorted.filter { Int(UInt32(bitPattern: $0.name.sequence)) / Self.blockSize % consumers == rank }
        }
        // The first consumer stays at the head, which preserves the order as far as the other consumers allow.
        let rank = turn > 0 && share.rank > 0 ? turn % share.rank : share.rank
        let size = max(1, min(prefetch, (sorted.count + consumers - 1) / consumers))
        var part: [Entry] = []
        for start in stride(from: rank * size, to: sorted.count, by: size * consumers) {
            part += sorted[start..<min(start + size, sorted.count)]
        }
        return part
    }

    private static let blockSize = 32

    /// Whether the list is so old that a message of higher priority may have arrived since.
    func isStale(now: Duration) -> Bool { validUntil.map { now >= $0 } ?? true }

    /// Whether a new list is needed.
    func isEmpty(now: Duration) -> Bool { entries.isEmpty && returned.isEmpty || isStale(now: now) }

    /// Takes the next messages to try.
    mutating func take(_ count: Int) -> [Entry] {
        let first = returned.prefix(count)
        let next = entries.prefix(count - first.count)
        returned = returned.dropFirst(first.count)
        entries = entries.dropFirst(next.count)
        return Array(first) + next
    }

    /// Puts back messages that must be tried again, at their positions.
    mutating func putBack(_ taken: [Entry]) {
        // Entries that were taken precede the rest, which therefore need not be sorted again.
        returned = (returned + taken).sorted()[...]
    }

    /// Forgets the list.
    mutating func clear() { (entries, returned) = ([], []) }
}
