/// What a producer knows of the ids that the queue remembers.
enum Deduplication: Sendable {
    /// No message with an id was sent.
    case unused
    /// The buckets must be read before a message with an id is sent.
    case unread
    /// The buckets as they were read last. A search is needed when another producer has stored ids that this one sends too.
    case read(IDBuckets, needsSearch: Bool)

    /// Whether the buckets must be read before anything is sent.
    var needsBuckets: Bool { if case .unread = self { true } else { false } }

    var needsSearch: Bool { if case .read(_, let needsSearch) = self { needsSearch } else { false } }

    var buckets: IDBuckets? { if case .read(let buckets, _) = self { buckets } else { nil } }

    /// A message with an id was sent.
    mutating func becomesUsed() { if case .unused = self { self = .unread } }

    /// What was read no longer holds.
    mutating func forget() { if case .read = self { self = .unread } }

    mutating func requireSearch(_ needsSearch: Bool = true) {
        if case .read(let buckets, _) = self { self = .read(buckets, needsSearch: needsSearch) }
    }
}
