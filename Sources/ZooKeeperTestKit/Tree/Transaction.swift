package import ZooKeeper

/// One change of the tree.
package struct Transaction: Sendable {
    /// Whose change it was.
    package let session: Int64
    /// What changed it; `nil` when it was the end of the session.
    package let request: Request?
    /// All nodes afterwards.
    package let nodes: [String: Node]
}
