extension MessageQueue {
    /// Returns the nodes that this process skips because it cannot handle them, in the order of their paths.
    ///
    /// A producer, consumer or recovery that meets such a node continues with the others, and tries the node again
    /// later: after a second, and then after pauses that double up to five minutes. A repaired node therefore comes
    /// back without any intervention.
    public func skippedNodes() -> [SkippedNode] { skipped.all }

    /// Searches for nodes that no client can handle, whether or not this process has met them.
    ///
    /// Reads the first nodes of each of the queue's folders.
    ///
    /// - Parameter limit: how many nodes to read in each folder.
    /// - Throws: ``QueueError``; ``QueueError/Code/queueNotFound`` when there is no queue.
    public func findUnusableNodes(limit: Int = 100) async throws -> [SkippedNode] {
        try await UnusableNodeSearch(queue: self, limit: limit).run()
    }
}
