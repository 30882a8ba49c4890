package import ZooKeeper

/// One change of the tree.
package struct Transaction: Sendable {
    /// Whose change it was.
    package let session: Int64
    /// The request that changed the tree; `nil` for the end of a session, and for changes by the servers themselves: a
    /// rollback, or the removal of a container.
    package let request: Request?
    /// All nodes afterwards.
    package let nodes: [ExactString: Node]
    /// Whether the servers went back to an earlier tree, which no member causes.
    package var isRollback = false
}
