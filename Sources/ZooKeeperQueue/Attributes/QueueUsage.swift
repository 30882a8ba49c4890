import ZooKeeper

/// Measures the fill level of a queue.
struct QueueUsage: Sendable {
    let store: any ZooKeeperStore
    let tree: QueueTree
    let reader: NodeReader

    /// Makes the servers count the bytes of the queue, which a capacity in bytes requires.
    func trackBytes() async throws {
        guard try await store.capabilities.contains(.quotas) else {
            throw QueueError(
                .invalidArgument, "This store cannot measure the queue's bytes. Set a capacity in messages instead.")
        }
        try await store.trackUsage(of: tree.root)
    }

    /// Returns the fill level of the queue.
    func fill(countingBytes: Bool) async throws -> CapacityBudget.Fill {
        async let (items, earlier, producers) = (
            reader.childCount(tree.items), reader.childCount(tree.earlier), reader.childCount(tree.producers)
        )
        async let counted = countingBytes ? try await store.byteUsage(of: tree.root) : nil
        var bytes = try await counted
        if countingBytes, bytes == nil {
            // Another client has removed the byte count.
            try await trackBytes()
            bytes = try await store.byteUsage(of: tree.root)
        }
        return CapacityBudget.Fill(nodes: try await items + earlier, bytes: bytes, producers: try await producers)
    }
}
