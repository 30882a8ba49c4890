/// What a producer knows of the ids that the queue remembers.
enum Deduplication: Sendable {
    /// No message has come that has an id.
    case unused
    /// The buckets must be read before a message with an id is sent.
    case unread(needsSearch: Bool)
    /// The buckets as they were read last. A search is needed when another producer has sent ids that this one sends too.
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

    /// A message with an id has come.
    mutating func use() { if case .unused = self { self = .unread(needsSearch: false) } }

    /// What was read no longer holds.
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
