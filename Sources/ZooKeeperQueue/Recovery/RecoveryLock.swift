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
                // Our own, when an answer was lost: made anew, for the ensemble's clock.
                if try await isOwn() {
                    try? await queue.store.delete(path, version: 0)
                    continue
                }
                for try await node in queue.store.data(of: path) where node == nil { break }
                try Task.checkCancellation()
            }
        }
    }

    private func isOwn() async throws -> Bool {
        do {
            return try await queue.store.get(path).data == identity
        } catch let error as ZooKeeperError where error.code == .noNode {
            return false
        }
    }

    /// Lets the next one act, if this one does. It is not affected by cancellation, and gives up after some attempts:
    /// the node goes with the session, and the same lock recognises it as its own.
    func release() async {
        let store = queue.store
        await Task {
            for _ in 0..<3 {
                do {
                    // If the session has ended, the node may be another's by now.
                    if try await isOwn() { try await store.delete(path, version: 0) }
                    return
                } catch let error as ZooKeeperError where error.isPassing {
                    await error.pauseIfRefusedAtOnce(store)
                } catch {
                    return
                }
            }
        }.value
    }
}
