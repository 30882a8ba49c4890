/// What the version of a consumer's node says about a transaction: a value.
enum TransactionOutcome: Sendable, Hashable {
    case applied
    case notApplied
    /// Another client has written to the node, which is not allowed, or an abandoned transaction was applied later.
    case changedByAnotherClient
    /// The servers have lost acknowledged writes.
    case rolledBack

    /// - Parameters:
    ///   - found: the version of the node.
    ///   - expected: the version that the transaction expects and raises by one.
    ///   - isUnresolved: whether an attempt of the transaction was sent without a reply.
    init(found: Int32, expected: Int32, isUnresolved: Bool) {
        switch found &- expected {
        case 0: self = .notApplied
        // The transaction raises the version by exactly one. Any other version has another cause.
        case 1 where isUnresolved: self = .applied
        case ..<0: self = .rolledBack
        default: self = .changedByAnotherClient
        }
    }
}
