import ZooKeeper

/// Where the ids of messages are remembered.
extension QueueFolders {
    /// Returns the present buckets. Creates those that are missing, because a queue whose messages have no ids needs
    /// none.
    func idBuckets() async throws -> IDBuckets {
        let buckets: IDBuckets
        if let node = try await reader.node(tree.ids) {
            buckets = try IDBuckets(node)
        } else {
            try await createLikeItems(tree.ids)
            buckets = try IDBuckets(try await store.get(tree.ids))
        }
        // The former one too, in case another client has removed it.
        for number in buckets.numbers where try await store.exists(tree.idBucket(number)) == nil {
            try await createLikeItems(tree.idBucket(number))
        }
        return buckets
    }

    /// Creates a node with the rights of `items`, so that a recovery which may remove items may remove it.
    private func createLikeItems(_ path: String) async throws {
        try await store.createIfMissing(path, acl: try await store.aclEntries(of: tree.items))
    }
}
