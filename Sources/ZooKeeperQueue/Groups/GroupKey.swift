/// The key of a message group, of valid length: a value.
struct GroupKey: Sendable, Hashable {
    let key: String
    /// The name of the group's node below `groups`.
    let nodeName: String

    /// The longest key in bytes of UTF-8.
    static let maximumLength = 255

    /// Returns `nil` for a key that is empty or too long.
    init?(_ key: String) {
        guard (1...Self.maximumLength).contains(key.utf8.count) else { return nil }
        self.key = key
        nodeName = DeduplicationBuckets.nodeName(of: key)
    }

    // Swift compares strings by canonical equivalence, so equal keys can have different bytes, and therefore different
    // nodes.
    static func == (a: GroupKey, b: GroupKey) -> Bool { a.nodeName == b.nodeName }
    func hash(into hasher: inout Hasher) { hasher.combine(nodeName) }
}
