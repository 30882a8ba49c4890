import QueueHistory

/// The promises that a run did not keep.
struct CheckResult: Sendable {
    /// By what members wrote down and what was left in the end: all that a user can see.
    let byMembers: [Violation]
    /// By each change of the tree, and by what is left in memory.
    let byWitness: [Violation]

    var violations: [Violation] { byMembers + byWitness }
    var isGood: Bool { violations.isEmpty }
}
