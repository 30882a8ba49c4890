import ZooKeeper

/// The buckets of deduplication IDs.
extension QueueFolders {
    /// Returns the ID buckets. Creates those that are missing, because a queue whose messages have no IDs has none.
    func deduplicationBuckets() async throws -> DeduplicationBuckets {
        let buckets: DeduplicationBuckets
        if let node = try await reader.node(tree.ids) {
            buckets = try DeduplicationBuckets(node)
        } else {
            try await createLikeItems(tree.ids)
            buckets = try DeduplicationBuckets(try await store.get(tree.ids))
        }
        // The previous bucket is checked too, because another client may have removed it.
        for number in buckets.numbers where try await store.exists(tree.idBucket(number)) == nil {
            try await createLikeItems(tree.idBucket(number))
        }
        return buckets
    }

    /// Creates a node with the permissions of `items`. A recovery that may remove items may then remove it too.
    func createLikeItems(_ path: String) async throws {
        try await store.createIfMissing(path, acl: try await store.aclEntries(of: tree.items))
    }
}
