import ZooKeeper

/// One of the things that a recovery does in a pass.
///
/// Each pass makes its duties anew. A duty keeps its state to itself, so a duty that fails ends no other: see
/// ``RecoveryPass``.
protocol RecoveryDuty {
    /// What the duty has done so far. It holds what was done before a failure, too.
    var report: RecoveryReport { get }

    /// Does the duty once.
    ///
    /// Skips a node that ZooKeeper refuses to handle, and goes on with the others.
    ///
    /// - Throws: ``FolderRefusal``, or a refusal by ZooKeeper, when the duty cannot go on and the others can. Any other
    ///   error ends the pass.
    mutating func run() async throws
}

/// A refusal by ZooKeeper for which no message is to blame: of the folder that messages go to, or because of a quota.
struct FolderRefusal: Error {
    let cause: ZooKeeperError
}
