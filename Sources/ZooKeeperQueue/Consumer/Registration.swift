import ZooKeeper

/// A consumer's nodes in the tree, which belong to the session that created them.
struct Registration: Sendable, Hashable {
    let paths: ConsumerPaths
    /// The session that owns the ephemeral node.
    let sessionID: Int64
    let name: String

    /// Removes the consumer from the tree. It must hold no messages.
    func remove(from store: any ZooKeeperStore) async throws {
        do {
            _ = try await store.multi([.delete(paths.active), .delete(paths.item), .delete(paths.path)])
        } catch let error as ZooKeeperError where error.code == .notEmpty {
            // A claim whose reply was lost has left a lease that the consumer does not know
            // about. A recovery handles it.
            try await store.delete(paths.active, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // The reply to an earlier removal was lost, a recovery was faster, or the session's end
            // has removed `active` alone.
            for path in [paths.item, paths.path] { try await removeIfEmpty(path, from: store) }
        }
    }

    private func removeIfEmpty(_ path: String, from store: any ZooKeeperStore) async throws {
        do {
            try await store.delete(path, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode || error.code == .notEmpty {
            // A recovery handles the remaining leases.
        }
    }
}
