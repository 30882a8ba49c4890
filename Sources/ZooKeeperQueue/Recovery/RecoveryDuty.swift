import ZooKeeper

/// One of the tasks that a recovery performs in a pass.
///
/// Each pass creates new duties. A duty shares no state with other duties, so a duty that fails ends no other
/// one. See ``RecoveryPass``.
protocol RecoveryDuty {
    /// What the duty has done so far, including what it did before a failure.
    var report: RecoveryReport { get }

    /// Performs the duty once.
    ///
    /// Skips a node that ZooKeeper refuses to handle, and continues with the others.
    ///
    /// - Throws: ``FolderRefusal``, or a refusal by ZooKeeper, when this duty cannot continue but the others can. Any
    ///   other error ends the pass.
    mutating func run() async throws
}

/// A refusal by ZooKeeper that does not concern a single message: it concerns the target folder or a quota.
struct FolderRefusal: Error {
    let cause: ZooKeeperError
}
