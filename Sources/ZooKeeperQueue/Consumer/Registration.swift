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
    /// holds nothing, and may remove it, which fails the next step here. Every failure starts over with a new number,
    /// and takes out what the failed attempt left.
    static func make(in queue: MessageQueue) async throws -> Registration {
        while true {
            let created: CreatedNode
            do {
                created = try await queue.store.create(
                    queue.tree.consumers + "/consumer-", data: [], mode: .persistentSequential)
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // What may have been made has no ephemeral node: a recovery removes it.
                continue
            }
            let name = created.path.split(separator: "/").last.map(String.init) ?? ""
            let paths = queue.tree.consumer(name)
            do {
                _ = try await queue.store.create(paths.item, data: [], mode: .persistent)
                let active = try await queue.store.create(paths.active, data: [], mode: .ephemeral)
                return Registration(paths: paths, sessionID: active.stat.ephemeralOwner, name: name)
            } catch let error as ZooKeeperError where error.outcome == .unknown || error.code == .noNode {
                try? await Registration(paths: paths, sessionID: 0, name: name).remove(from: queue.store)
                if error.code == .deadlineExceeded { throw error }
            }
        }
    }

    /// Takes the consumer out of the tree; it must hold nothing.
    func remove(from store: any NodeStore) async throws {
        do {
            _ = try await store.multi([.delete(paths.active), .delete(paths.item), .delete(paths.path)])
        } catch let error as ZooKeeperError where error.code == .notEmpty {
            // It holds what it does not know of, by a claim whose answer was lost: a recovery shall have that.
            try await store.delete(paths.active, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // Removed with an answer that was lost, or by a recovery after the session had ended.
        }
    }
}
