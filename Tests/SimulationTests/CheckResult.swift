import QueueHistory

/// The promises that a run broke.
struct CheckResult: Sendable {
    /// Violations that the histories of the processes and the final state show, which are all that a user can see.
    let byHistory: [Violation]
    /// Violations that the changes of the tree, and leaked objects, show.
    let byMonitor: [Violation]

    var violations: [Violation] { byHistory + byMonitor }
    var passed: Bool { violations.isEmpty }
}
