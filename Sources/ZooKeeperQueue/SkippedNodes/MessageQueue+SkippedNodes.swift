extension MessageQueue {
    /// Returns the nodes that the members of this process skip, because they cannot be handled, in the order of their
    /// paths.
    ///
    /// A member passes over such a node, goes on with the others, and tries it again later: after a second, and then
    /// after pauses that double up to five minutes. So a node comes back by itself when it is mended.
    public func skippedNodes() -> [SkippedNode] { skipped.all }

    /// Looks for nodes that no member can handle, whether or not a member has met them.
    ///
    /// It reads the first nodes of each of the queue's folders.
    ///
    /// - Parameter limit: how many nodes of each folder to look at.
    /// - Throws: ``QueueError``; ``QueueError/Code/queueMissing`` when there is no queue.
    public func findUnusableNodes(limit: Int = 100) async throws -> [SkippedNode] {
        try await UnusableNodeSearch(queue: self, limit: limit).run()
    }
}
