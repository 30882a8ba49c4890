/// The ready messages as they were listed once, and how far a consumer has worked through them: a value.
///
/// Several consumers work on different parts of the list, by their rank among the active ones, so that they do not all
/// try for the same messages: a multi that fails costs the ensemble as much as one that succeeds. The list is made
/// again when it is used up, or too old: a message of higher priority may have come, and another consumer may have left
/// its part lying.
struct ReadyList {
    /// One consumer's rank among so many.
    struct Share: Sendable, Hashable {
        var rank = 0
        var consumers = 1
    }

    private var items: ArraySlice<ListedItem> = []
    /// Items that were taken and are tried again, before the rest.
    private var returned: ArraySlice<ListedItem> = []
    private var validUntil: Duration?
    private(set) var listings = 0

    /// Takes a new list, of which the listing itself took so long.
    mutating func refill(
        _ all: [ListedItem], share: Share, prefetch: Int, listingTook: Duration, now: Duration
    ) {
        listings += 1
        returned = []
        // A twentieth of the time may go into listing a long queue, so that even a slow ensemble's list is soon
        // renewed.
        validUntil = now + min(max(.seconds(1), listingTook * 20), .seconds(10))
        let sorted = all.sorted()
        guard share.consumers > 1 else {
            items = sorted[...]
            return
        }
        // Now and then each takes a part before its own, or that of a consumer that is busy would wait for ever. The
        // first
        // one stays at the head, so that the order is kept as far as the others leave it.
        let rank = listings % 4 == 0 && share.rank > 0 ? (listings / 4) % share.rank : share.rank
        let part = max(1, min(prefetch, (sorted.count + share.consumers - 1) / share.consumers))
        var mine: [ListedItem] = []
        for start in stride(from: rank * part, to: sorted.count, by: part * share.consumers) {
            mine += sorted[start..<min(start + part, sorted.count)]
        }
        // With fewer messages than consumers, those without a part of their own try for any.
        items = (mine.isEmpty ? sorted : mine)[...]
    }

    /// Whether a message of higher priority may have come since.
    func isStale(now: Duration) -> Bool { validUntil.map { now >= $0 } ?? true }

    /// Whether a new list is needed.
    func isEmpty(now: Duration) -> Bool { items.isEmpty && returned.isEmpty || isStale(now: now) }

    /// The next messages to try for.
    mutating func take(_ count: Int) -> [ListedItem] {
        let first = returned.prefix(count)
        let next = items.prefix(count - first.count)
        returned = returned.dropFirst(first.count)
        items = items.dropFirst(next.count)
        return Array(first) + next
    }

    /// Puts back messages that are tried again, in their places.
    mutating func putBack(_ listed: [ListedItem]) {
        // Items that were taken come before the rest, which therefore need not be sorted again.
        returned = (returned + listed).sorted()[...]
    }

    /// Forgets the list.
    mutating func clear() { (items, returned) = ([], []) }
}
