/// A consumer's share of the names of the ready messages, and how far the consumer has worked through it: a value.
///
/// Several consumers work on different parts of the list, by their rank among the active ones, so that they do not all
/// try for the same messages: a multi that fails costs the ensemble as much as one that succeeds. The list is made
/// again when it is used up, or too old: a message of higher priority may have come, and another consumer may have left
/// its part lying.
struct ReadyList {
    /// The name of a ready message's node, and which of the two folders it stands in.
    struct Entry: Sendable, Hashable, Comparable {
        let name: ItemName
        /// Whether it stands in `earlier`, and not in `items`.
        let isEarlier: Bool

        func path(in tree: QueueTree) -> String {
            isEarlier ? tree.earlier(name.string) : tree.item(name.untagged)
        }

        static func < (a: Entry, b: Entry) -> Bool { a.name < b.name }
    }

    /// One consumer's rank among so many.
    struct Share: Sendable, Hashable {
        var rank = 0
        var consumers = 1
    }

    private var entries: ArraySlice<Entry> = []
    /// Entries that were taken and are tried again, before the rest.
    private var returned: ArraySlice<Entry> = []
    private var validUntil: Duration?
    /// How often the list was made.
    private(set) var refills = 0

    /// Takes this consumer's share of all ready messages.
    ///
    /// - Parameter listingTook: how long it took to read the names.
    mutating func refill(_ all: [Entry], share: Share, prefetch: Int, listingTook: Duration, now: Duration) {
        refills += 1
        returned = []
        // A twentieth of the time may go into listing a long queue, so that even a slow ensemble's list is soon
        // renewed.
        validUntil = now + min(max(.seconds(1), listingTook * 20), .seconds(10))
        let sorted = all.sorted()
        guard share.consumers > 1 else {
            entries = sorted[...]
            return
        }
        // Now and then each takes a part before its own, or that of a consumer that is busy would wait for ever. The
        // first one stays at the head, so that the order is kept as far as the others leave it.
        let rank = refills % 4 == 0 && share.rank > 0 ? (refills / 4) % share.rank : share.rank
        let part = max(1, min(prefetch, (sorted.count + share.consumers - 1) / share.consumers))
        var mine: [Entry] = []
        for start in stride(from: rank * part, to: sorted.count, by: part * share.consumers) {
            mine += sorted[start..<min(start + part, sorted.count)]
        }
        // With fewer messages than consumers, those without a part of their own try for any.
        entries = (mine.isEmpty ? sorted : mine)[...]
    }

    /// Whether a message of higher priority may have come since.
    func isStale(now: Duration) -> Bool { validUntil.map { now >= $0 } ?? true }

    /// Whether a new list is needed.
    func isEmpty(now: Duration) -> Bool { entries.isEmpty && returned.isEmpty || isStale(now: now) }

    /// The next messages to try for.
    mutating func take(_ count: Int) -> [Entry] {
        let first = returned.prefix(count)
        let next = entries.prefix(count - first.count)
        returned = returned.dropFirst(first.count)
        entries = entries.dropFirst(next.count)
        return Array(first) + next
    }

    /// Puts back messages that are tried again, in their places.
    mutating func putBack(_ taken: [Entry]) {
        // Entries that were taken come before the rest, which therefore need not be sorted again.
        returned = (returned + taken).sorted()[...]
    }

    /// Forgets the list.
    mutating func clear() { (entries, returned) = ([], []) }
}
