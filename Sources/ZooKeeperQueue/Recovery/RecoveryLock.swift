import ZooKeeper

/// The ephemeral node of the recovery that acts now. It saves work, and is not what keeps messages safe: every step of
/// a recovery is atomic and guarded by itself, so that two at once do no harm.
struct RecoveryLock {
    private let queue: MessageQueue
    let identity = Array(UniqueName.make().utf8)

    init(_ queue: MessageQueue) { self.queue = queue }

    private var path: String { queue.tree.recoveryLock }

    /// How long to wait for a recovery that gives no sign. One that could not release its node while its session lives
    /// would otherwise keep all others waiting as long.
    private static let patience = Duration.seconds(10)
    /// How often the one that acts gives a sign.
    private static let signPeriod = Duration.seconds(3)

    /// Waits for its turn. Passes over a lock that can be neither watched nor removed, because waiting for it would not
    /// end.
    ///
    /// - Returns: the ensemble's clock: milliseconds since 1970.
    func acquire() async throws -> Int64 {
        do {
            if !queue.skipped.contains(path) {
                let now = try await acquireInTurn()
                queue.skipped.handled(path)
                return now
            }
        } catch let error as ZooKeeperError where error.isRefusal {
            // Without the permission to create nodes below the root, a recovery can do nothing.
            guard try await queue.reader.names(queue.tree.root).contains("gc-lock") else { throw error }
            queue.skipped.skip(path, error)
        }
        return try await queue.store.probe(below: queue.tree.root).mtime
    }

    private func acquireInTurn() async throws -> Int64 {
        while true {
            do {
                return try await queue.store.create(path, data: identity, mode: .ephemeral).stat.ctime
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                try Task.checkCancellation()
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // Our own, when an answer was lost: made anew, for the ensemble's clock.
                if try await isOwn() {
                    try await take(nil)
                    continue
                }
                let abandoned = try await waitUntilReleased()
                try Task.checkCancellation()
                if let abandoned { try await take(abandoned) }
            }
        }
    }

    private enum Sign { case given(Int32), gone, none }

    /// - Returns: the version of the node when no sign came for as long as patience lasts; `nil` when it has gone.
    private func waitUntilReleased() async throws -> Int32? {
        var version: Int32?
        while true {
            switch try await sign(after: version) {
            case .given(let new): version = new
            case .gone: return nil
            case .none: return version
            }
        }
    }

    /// The next change of the node, or none in time.
    private func sign(after version: Int32?) async throws -> Sign {
        let (store, path) = (queue.store, path)
        return try await withThrowingTaskGroup(of: Sign.self) { group in
            group.addTask {
                for try await node in store.data(of: path) {
                    guard let node else { return .gone }
                    if node.stat.version != version { return .given(node.stat.version) }
                }
                return .gone
            }
            group.addTask {
                try? await store.sleep(for: Self.patience)
                return .none
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .gone
        }
    }

    /// Deletes the node: that of a recovery that gives no sign, or our own, of any version.
    private func take(_ version: Int32?) async throws {
        do {
            try await queue.store.delete(path, version: version)
        } catch let error as ZooKeeperError
            where error.code == .noNode || error.code == .badVersion || error.outcome == .unknown
        {
            // It has gone, or given a sign.
        }
    }

    /// Gives signs, while a recovery acts, until the task is cancelled or the node is another's.
    func giveSigns() async {
        var version: Int32 = 0
        while (try? await queue.store.sleep(for: Self.signPeriod)) != nil {
            do {
                // A pass that went on without the lock must not write into the node of another recovery.
                guard try await isOwn() else { return }
                version = try await queue.store.set(path, data: identity, version: version).version
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                // Given or not, the next one says.
                version += 1
            } catch {
                return
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
                    if try await isOwn() { try await store.delete(path, version: nil) }
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
