package import ZooKeeper

/// One change of the tree.
package struct Transaction: Sendable {
    /// Whose change it was.
    package let session: Int64
    /// What changed it; `nil` when it was the end of the session, or the servers themselves: a rollback, or the removal of a
    /// container.
    package let request: Request?
    /// All nodes afterwards.
    package let nodes: [ExactString: Node]
    /// Whether the servers went back to an earlier tree, which is no member's doing.
    package var isRollback = false
}
