import ZooKeeper

/// The ephemeral node of the recovery that acts now. It saves work, and is not what keeps messages safe: every step of
/// a recovery is atomic and guarded by itself, so that two at once do no harm.
struct RecoveryLock {
    private let queue: MessageQueue
    private let identity = Array(UniqueName.make().utf8)

    init(_ queue: MessageQueue) { self.queue = queue }

    private var path: String { queue.tree.recoveryLock }

    /// Waits for its turn.
    ///
    /// - Returns: the ensemble's clock: milliseconds since 1970.
    func acquire() async throws -> Int64 {
        while true {
            do {
                return try await queue.store.create(path, data: identity, mode: .ephemeral).stat.ctime
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                try Task.checkCancellation()
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // Ours, when the answer to the create was lost.
                if let ctime = try await ownCreation() { return ctime }
                for try await node in queue.store.data(of: path) where node == nil { break }
                try Task.checkCancellation()
            }
        }
    }

    private func ownCreation() async throws -> Int64? {
        do {
            let node = try await queue.store.get(path)
            return node.data == identity ? node.stat.ctime : nil
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    /// Lets the next one act. It is not affected by cancellation.
    func release() async {
        let (store, path) = (queue.store, path)
        await Task {
            while true {
                do {
                    // If the session has ended, the node may be another's by now.
                    guard try await ownCreation() != nil else { return }
                    return try await store.delete(path, version: 0)
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    continue
                } catch {
                    return
                }
            }
        }.value
    }
}
