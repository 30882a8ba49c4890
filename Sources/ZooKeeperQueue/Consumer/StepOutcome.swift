/// What the version of a consumer's node says about a step: a value.
enum StepOutcome: Sendable, Hashable {
    case applied
    case notApplied
    /// Another client has written to the node, which is not allowed, or an earlier step that was given up has been
    /// applied.
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
        // The step raises the version by exactly one. Any other version has another cause.
        case 1 where isUnresolved: self = .applied
        case ..<0: self = .rolledBack
        default: self = .changedByOthers
        }
    }
}
