import ZooKeeper

/// A consumer's place in the tree, which lives as long as the session that made it.
struct Registration: Sendable, Hashable {
    let paths: ConsumerPaths
    /// The session that owns the ephemeral node.
    let sessionID: Int64
    let name: String

    /// Registers a consumer.
    ///
    /// The parent of the leases comes before the ephemeral node: a recovery that looks in between sees a consumer that
    /// holds nothing, and may remove it, which fails the next step here. Every failure starts over with a new number;
    /// what is left of the earlier ones, a recovery removes.
    static func make(in queue: MessageQueue) async throws -> Registration {
        let store = queue.store
        while true {
            do {
                let created = try await store.create(
                    queue.tree.consumers + "/consumer-", data: [], mode: .persistentSequential)
                let name = created.path.split(separator: "/").last.map(String.init) ?? ""
                let paths = queue.tree.consumer(name)
                _ = try await store.create(paths.item, data: [], mode: .persistent)
                let active = try await store.create(paths.active, data: [], mode: .ephemeral)
                return Registration(paths: paths, sessionID: active.stat.ephemeralOwner, name: name)
            } catch let error as ZooKeeperError
                where error.outcome == .unknown || error.code == .nodeExists
                || (error.code == .noNode && error.path.map { $0 != queue.tree.consumers + "/consumer-" } ?? false)
            {
                try Task.checkCancellation()
            }
        }
    }

    /// Takes the consumer out of the tree; it must hold nothing.
    func remove(from store: any NodeStore) async throws {
        do {
            _ = try await store.multi([.delete(paths.active), .delete(paths.item), .delete(paths.path)])
        } catch let error as ZooKeeperError where error.code == .noNode {
            // Removed with an answer that was lost, or by a recovery after the session had ended.
        }
    }
}
