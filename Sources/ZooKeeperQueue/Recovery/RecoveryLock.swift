import ZooKeeper

/// The ephemeral node of the recovery that acts now. It saves work, and is not what keeps messages safe: every step of
/// a recovery is atomic and guarded by itself, so that two at once do no harm.
struct RecoveryLock {
    private let queue: MessageQueue
    private let identity = Array(UniqueName.make().utf8)

    init(_ queue: MessageQueue) { self.queue = queue }

    private var path: String { queue.tree.recoveryLock }

    /// How long to wait for a recovery that acts. One that could not release its node while its session lives would
    /// otherwise keep all others waiting as long.
    private static let patience = Duration.seconds(10)

    /// Waits for its turn, but not for ever.
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
                let isGone = try await waitUntilReleased()
                try Task.checkCancellation()
                if !isGone { try? await queue.store.delete(path, version: 0) }
            }
        }
    }

    /// - Returns: whether the node has gone before patience has.
    private func waitUntilReleased() async throws -> Bool {
        let (store, path) = (queue.store, path)
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                for try await node in store.data(of: path) where node == nil { break }
                return true
            }
            group.addTask {
                try? await store.sleep(for: Self.patience)
                return false
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
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
