/// How many bytes a consumer claims with one transaction when a server closes the connection
/// at larger requests: a value.
struct ClaimLimit: Sendable, Hashable {
    /// The limit; `nil` when only the client's own limit applies.
    private(set) var bytes: Int?
    /// How many replies to transactions arrived since the limit last changed.
    private var passed = 0

    /// After this many transactions the limit is raised, because the connection may have broken for another reason.
    private static let transactionsBeforeRaise = 100

    /// The smallest limit of any server. When the connection breaks at a smaller transaction,
    /// the reason is another one.
    static let smallestServerLimit = 32 << 10

    func allows(_ bytes: Int) -> Bool { self.bytes.map { bytes <= $0 } ?? true }

    /// Records that the connection broke at a claim of this size.
    mutating func shrink(from bytes: Int) { (self.bytes, passed) = (max(1, bytes / 4), 0) }

    /// Records that the reply to a transaction arrived.
    mutating func pass(of maximum: Int) {
        guard let bytes else { return }
        passed += 1
        guard passed >= Self.transactionsBeforeRaise else { return }
        passed = 0
        self.bytes = bytes * 4 >= maximum ? nil : bytes * 2
    }
}
