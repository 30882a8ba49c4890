/// What a producer knows about the IDs that the queue remembers.
enum Deduplication: Sendable {
    /// No message with an ID was sent yet.
    case unused
    /// The buckets must be read before a message with an ID is sent.
    case unread(needsSearch: Bool)
    /// The buckets as last read. A search is needed when another producer has sent some of the same IDs.
    case read(IDBuckets, needsSearch: Bool)

    /// Whether the buckets must be read before anything is sent.
    var needsBuckets: Bool { if case .unread = self { true } else { false } }

    var needsSearch: Bool {
        switch self {
        case .unused: false
        case .unread(let needsSearch), .read(_, let needsSearch): needsSearch
        }
    }

    var buckets: IDBuckets? { if case .read(let buckets, _) = self { buckets } else { nil } }

    /// Records that a message with an ID was sent.
    mutating func use() { if case .unused = self { self = .unread(needsSearch: false) } }

    /// Invalidates the buckets that were read.
    mutating func forget() { if case .read(_, let needsSearch) = self { self = .unread(needsSearch: needsSearch) } }

    mutating func read(_ buckets: IDBuckets) { self = .read(buckets, needsSearch: needsSearch) }

    mutating func search(_ needsSearch: Bool) {
        switch self {
        case .unused: break
        case .unread: self = .unread(needsSearch: needsSearch)
        case .read(let buckets, _): self = .read(buckets, needsSearch: needsSearch)
        }
    }
}
