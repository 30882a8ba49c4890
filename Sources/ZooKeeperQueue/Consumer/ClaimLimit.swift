/// How many bytes a consumer claims with one transaction, beside a server that breaks off larger requests: a value.
struct ClaimLimit: Sendable, Hashable {
    /// `nil` is no limit but the client's own.
    private(set) var bytes: Int?
    /// How many transactions have passed since the limit was set.
    private var passed = 0

    /// After so many, a larger claim is tried: the connection may have broken for another reason.
    private static let patience = 100

    func allows(_ bytes: Int) -> Bool { self.bytes.map { bytes <= $0 } ?? true }

    /// A claim of so many bytes was broken off.
    mutating func shrink(from bytes: Int) { (self.bytes, passed) = (max(1, bytes / 4), 0) }

    /// A transaction has passed.
    mutating func pass(of maximum: Int) {
        guard let bytes else { return }
        passed += 1
        guard passed >= Self.patience else { return }
        passed = 0
        self.bytes = bytes * 4 >= maximum ? nil : bytes * 2
    }
}
