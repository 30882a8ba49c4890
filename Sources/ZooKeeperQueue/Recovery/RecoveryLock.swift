import ZooKeeper

/// The ephemeral node of the recovery that acts now, or that moves delayed messages. It only saves work. It is not what
/// protects messages: every transaction of a recovery is atomic and has its own guard, so two recoveries at once do no
/// harm.
struct RecoveryLock {
    private let queue: MessageQueue
    let path: String
    let identity = Array(RandomName.make().utf8)

    init(_ queue: MessageQueue, at path: String) {
        self.queue = queue
        self.path = path
    }

    /// How long to wait for a recovery that sends no heartbeat. A recovery that could not release its node while its
    /// session lives would otherwise block all others until the session ends.
    private static let heartbeatTimeout = Duration.seconds(10)
    /// How often the acting recovery sends a heartbeat.
    private static let heartbeatInterval = Duration.seconds(3)

    /// A recovery's turn.
    struct Turn: Sendable {
        /// The ensemble's clock when the turn began, in milliseconds since 1970.
        let now: Int64
        /// Whether the recovery has the lock. It acts without the lock when it can neither watch nor remove it.
        var hasLock = true
    }

    /// Waits for its turn, and holds the lock while `body` runs.
    func hold<Result: Sendable>(_ body: (Turn) async throws -> Result) async throws -> Result {
        do {
            let turn = try await acquire()
            let result = try await withThrowingTaskGroup(of: Void.self) { group in
                if turn.hasLock { group.addTask { await sendHeartbeats() } }
                defer { group.cancelAll() }
                return try await body(turn)
            }
            await release()
            return result
        } catch {
            await release()
            throw error
        }
    }

    /// Waits for its turn. Ignores a lock that can be neither watched nor removed, because
    /// waiting for it would never end.
    func acquire() async throws -> Turn {
        do {
            if !queue.skipped.contains(path) {
                let now = try await acquireInTurn()
                queue.skipped.handled(path)
                return Turn(now: now)
            }
        } catch let error as ZooKeeperError where error.isRefusal {
            // Without the permission to create nodes below the root, a recovery can do nothing.
            guard try await queue.reader.names(queue.tree.root).contains(NodePath.name(of: path)) else { throw error }
            queue.skipped.skip(path, error)
        }
        return Turn(now: try await queue.store.probe(below: queue.tree.root).mtime, hasLock: false)
    }

    private func acquireInTurn() async throws -> Int64 {
        while true {
            do {
                return try await queue.store.create(path, data: identity, mode: .ephemeral).stat.ctime
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                try Task.checkCancellation()
            } catch let error as ZooKeeperError where error.code == .nodeExists {
                // The node is our own when an earlier reply was lost. It is created again, because its creation
                // tells the ensemble's clock.
                if try await isOwn() {
                    try await delete(version: nil)
                    continue
                }
                let abandoned = try await waitUntilReleased()
                try Task.checkCancellation()
                if let abandoned { try await delete(version: abandoned) }
            }
        }
    }

    private enum Heartbeat { case received(version: Int32), released, missing }

    /// Waits until the lock is released, or until no heartbeat has arrived for the length of ``heartbeatTimeout``.
    ///
    /// - Returns: the version of the node without a heartbeat; `nil` when the node is gone.
    private func waitUntilReleased() async throws -> Int32? {
        var version: Int32?
        while true {
            switch try await nextHeartbeat(after: version) {
            case .received(let new): version = new
            case .released: return nil
            case .missing: return version
            }
        }
    }

    /// Returns the next change of the node, or `missing` when there is none in time.
    private func nextHeartbeat(after version: Int32?) async throws -> Heartbeat {
        let (store, path) = (queue.store, path)
        return try await withThrowingTaskGroup(of: Heartbeat.self) { group in
            group.addTask {
                for try await node in store.dataUpdates(of: path) {
                    guard let node else { return .released }
                    if node.stat.version != version { return .received(version: node.stat.version) }
                }
                return .released
            }
            group.addTask {
                try? await store.sleep(for: Self.heartbeatTimeout)
                return .missing
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .released
        }
    }

    /// Deletes the node at this version, of a recovery without a heartbeat; with `nil`, deletes
    /// our own node at any version.
    private func delete(version: Int32?) async throws {
        do {
            try await queue.store.delete(path, version: version)
        } catch let error as ZooKeeperError
            where error.code == .noNode || error.code == .badVersion || error.outcome == .unknown
        {
            // The node is gone, or its recovery has sent a heartbeat.
        }
    }

    /// Sends heartbeats while a recovery acts, until the task is cancelled or the node belongs to another recovery.
    func sendHeartbeats() async {
        while (try? await queue.store.sleep(for: Self.heartbeatInterval)) != nil {
            do {
                guard try await sendHeartbeat() != nil else { return }
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                // The next heartbeat follows in any case.
            } catch {
                return
            }
        }
    }

    /// Sends one heartbeat.
    ///
    /// - Returns: the ensemble's clock, in milliseconds since 1970; `nil` when the node is gone or belongs to another
    ///   recovery. A pass that runs without the lock must not write to that node.
    func sendHeartbeat() async throws -> Int64? {
        do {
            let node = try await queue.store.get(path)
            guard node.data == identity else { return nil }
            return try await queue.store.set(path, data: identity, version: node.stat.version).mtime
        } catch let error as ZooKeeperError where error.code == .noNode || error.code == .badVersion {
            return nil
        }
    }

    private func isOwn() async throws -> Bool {
        do {
            return try await queue.store.get(path).data == identity
        } catch let error as ZooKeeperError where error.code == .noNode {
            return false
        }
    }

    /// Releases the lock, if this recovery holds it.
    ///
    /// Cancellation has no effect. Gives up after three attempts: the session's end removes the node, and until then
    /// this lock recognises the node as its own.
    func release() async {
        let store = queue.store
        await Task {
            for _ in 0..<3 {
                do {
                    // If the session has ended, the node may belong to another recovery by now.
                    if try await isOwn() { try await store.delete(path, version: nil) }
                    return
                } catch let error as ZooKeeperError where error.isRetryable {
                    await error.pauseIfRefusedAtOnce(store)
                } catch {
                    return
                }
            }
        }.value
    }
}
