/// What a producer knows about the IDs that the queue remembers.
enum Deduplication: Sendable {
    /// No message with an ID was sent yet.
    case unused
    /// The buckets must be read before a message with an ID is sent.
    case unread
    /// The buckets as last read. A search is needed when another producer has sent some of the same IDs.
    case read(DeduplicationBuckets, needsSearch: Bool)

    /// Whether the buckets must be read before anything is sent.
    var needsBuckets: Bool { if case .unread = self { true } else { false } }

    var needsSearch: Bool { if case .read(_, let needsSearch) = self { needsSearch } else { false } }

    var buckets: DeduplicationBuckets? { if case .read(let buckets, _) = self { buckets } else { nil } }

    /// Records that a message with an ID was sent.
    mutating func becomesUsed() { if case .unused = self { self = .unread } }

    /// Invalidates the buckets that were read.
    mutating func forget() { if case .read = self { self = .unread } }

    /// Requires a search for duplicates among the waiting messages, or records that it begins.
    mutating func requireSearch(_ needsSearch: Bool = true) {
        if case .read(let buckets, _) = self { self = .read(buckets, needsSearch: needsSearch) }
    }
}
