import ZooKeeper

/// Runs the duties of one pass over the queue, and adds up their reports.
///
/// A refusal by ZooKeeper ends the duty that met it, and no other, because it concerns one folder. An access control
/// list, for example, can keep the recovery from removing the nodes of producers while consumers still fail. The pass
/// throws the first refusal after the last duty. Every other error ends the pass, because the next duty would meet it
/// too: a lost connection, a deadline, a closed client, a cancellation.
struct RecoveryPass {
    private(set) var report = RecoveryReport()
    private var refusal: ZooKeeperError?

    /// Runs the duties one after the other.
    ///
    /// - Throws: the error that ends the pass. Keeps a refusal for ``result()``.
    mutating func run(_ duties: [any RecoveryDuty]) async throws {
        for var duty in duties {
            // Also what a duty did before it met an error.
            defer { report += duty.report }
            do {
                try await duty.run()
            } catch let error as FolderRefusal {
                refusal = refusal ?? error.cause
            } catch let error as ZooKeeperError where error.isRefusal {
                refusal = refusal ?? error
            }
        }
    }

    /// Returns the sum of the reports. A duty that met a missing node counts too, because the next pass restores a
    /// folder that was removed during this one, unless the root is gone.
    ///
    /// - Throws: the first refusal, unless it is a missing node.
    func result() throws -> RecoveryReport {
        if let refusal, refusal.code != .noNode { throw refusal }
        return report
    }
}
