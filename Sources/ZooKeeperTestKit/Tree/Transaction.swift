package import ZooKeeper

/// One change of the tree.
package struct Transaction: Sendable {
    /// The session that made the change. 0 for a change by the servers themselves.
    package let session: Int64
    /// The request that changed the tree. `nil` for the end of a session, and for a change by the servers themselves: a
    /// rollback, or the removal of a container.
    package let request: Request?
    /// All nodes after the change.
    package let nodes: [ExactString: Node]
    /// Whether the servers returned to an earlier tree, which no client causes.
    package var isRollback = false
}
