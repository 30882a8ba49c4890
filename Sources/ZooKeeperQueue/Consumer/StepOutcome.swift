/// What the version of a consumer's node says of a step: a value.
enum StepOutcome: Sendable, Hashable {
    case applied
    case notApplied
    /// Another client has written to the node, which none may; or an earlier step was applied that was given up on.
    case changedByOthers
    /// Servers have lost writes that they had acknowledged.
    case rolledBack

    /// - Parameters:
    ///   - found: the version that the node has.
    ///   - expected: the version that the step expects, and raises by one.
    ///   - isUnresolved: whether an attempt of the step was sent without an answer.
    init(found: Int32, expected: Int32, isUnresolved: Bool) {
        switch found &- expected {
        case 0: self = .notApplied
        // Exactly one more: anything else is not this step's doing.
        case 1 where isUnresolved: self = .applied
        case ..<0: self = .rolledBack
        default: self = .changedByOthers
        }
    }
}
