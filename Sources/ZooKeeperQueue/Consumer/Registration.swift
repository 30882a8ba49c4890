import ZooKeeper

/// A consumer's place in the tree, which lives as long as the session that made it.
struct Registration: Sendable, Hashable {
    let paths: ConsumerPaths
    /// The session that owns the ephemeral node.
    let sessionID: Int64
    let name: String

    /// Takes the consumer out of the tree; it must hold nothing.
    func remove(from store: any ZooKeeperStore) async throws {
        do {
            _ = try await store.multi([.delete(paths.active), .delete(paths.item), .delete(paths.path)])
        } catch let error as ZooKeeperError where error.code == .notEmpty {
            // It holds what it does not know of, by a claim whose answer was lost: a recovery shall have that.
            try await store.delete(paths.active, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // Removed with an answer that was lost, or by a recovery; or only `active` is gone, with its session.
            for path in [paths.item, paths.path] { try await removeIfEmpty(path, from: store) }
        }
    }

    private func removeIfEmpty(_ path: String, from store: any ZooKeeperStore) async throws {
        do {
            try await store.delete(path, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode || error.code == .notEmpty {
            // What it still holds is a recovery's.
        }
    }
}
