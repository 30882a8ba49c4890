import ZooKeeper

/// A line of ephemeral sequential nodes below one parent. Each of them waits for the one before it, so the end of one
/// wakes one other process.
struct LockLine: Sendable {
    let store: any ZooKeeperStore
    let path: String

    /// A place in the line.
    struct Place: Sendable {
        let node: LockNode
        let session: Int64
        /// The zxid of the node's creation. It grows with the place.
        let token: Int64
    }

    /// How a place was given up.
    enum Departure: Sendable {
        /// The node is gone, and the session that created it lives.
        case deleted
        /// The session has ended, and the node with it.
        case sessionEnded
        /// No server has responded so far. A task goes on until the node is gone.
        case unfinished
        /// The client may not delete the node, which stays until the session ends.
        case refused(ZooKeeperError.Code)
    }

    /// The sequence number from which on the line is used up. The server's numbers end some time later.
    private static let lastSequence: Int32 = 2_147_000_000
    /// How long the caller waits for a release, and at least for a create.
    private static let patience = Duration.seconds(5)

    /// Joins the line, and waits for its turn.
    ///
    /// - Parameters:
    ///   - data: the data of the node.
    ///   - end: the time limit, by the store's clock.
    /// - Returns: the place, which holds the lock.
    /// - Throws: ``RecipeError``, `CancellationError` or `ZooKeeperError`. The place is then given up.
    func acquire(_ kind: LockNode.Kind, data: [UInt8], until end: Duration?) async throws -> Place {
        while true {
            let place = try await join(kind, data: data, until: end)
            do {
                // The task may have been cancelled since the create was sent.
                try Task.checkCancellation()
                if try await waitForTurn(place, until: end) { return place }
                _ = await leave(place)
            } catch {
                _ = await leave(place)
                throw error
            }
        }
    }

    /// Waits until nothing in the line is before the place.
    ///
    /// - Returns: whether the place holds the lock; false when it is lost.
    private func waitForTurn(_ place: Place, until end: Duration?) async throws -> Bool {
        while true {
            let names = try await store.persistently(until: end) { try await store.children(of: path).names }
            // After the end of the session, a server that lags behind can still list the node.
            guard names.contains(place.node.name), store.sessionState.sessionID == place.session else { return false }
            guard let blocker = place.node.blocker(in: names) else { return true }
            try Task.checkCancellation()
            if let end, store.now >= end { throw RecipeError.timedOut(nil) }
            try await store.persistently(until: end) {
                try await store.withLimit(until: end) { try await store.untilDeleted("\(path)/\(blocker)") }
            }
        }
    }

    // MARK: Joining

    /// Creates a node at the end of the line.
    private func join(_ kind: LockNode.Kind, data: [UInt8], until end: Duration?) async throws -> Place {
        while true {
            try Task.checkCancellation()
            do {
                if let place = try await createOrAbandon(kind, data: data, until: end) { return place }
            } catch let error as ZooKeeperError where error.code == .noNode {
                try await store.persistently(until: end) { try await store.ensurePath(path) }
            } catch let error as ZooKeeperError where error.isRetryable {
                if let end, store.now >= end { throw RecipeError.timedOut(error) }
                await error.pauseIfRefusedAtOnce(store)
            }
        }
    }

    /// Creates a node. When the time is over, or the task is cancelled, the create goes on in a task of its own, which
    /// then deletes the node: a node that no process knows would stay.
    private func createOrAbandon(_ kind: LockNode.Kind, data: [UInt8], until end: Duration?) async throws -> Place? {
        let creation = Task { try await create("\(kind.rawValue)-\(RandomName.make())-", data: data) }
        let limit = end.map { max($0, store.now + Self.patience) }
        guard await isDone(creation, until: limit) else {
            Task { if let place = try? await creation.value { _ = await leave(place) } }
            try Task.checkCancellation()
            throw RecipeError.timedOut(nil)
        }
        guard let place = try await creation.value else { return nil }
        guard 0...Self.lastSequence ~= place.node.sequence else {
            _ = await leave(place)
            throw RecipeError(
                .exhausted,
                "The sequence numbers below \(path) are used up. Delete this node while no process uses it, or use "
                    + "another path.")
        }
        return place
    }

    /// Creates a node, and finds out whether a create without a response was applied.
    ///
    /// - Returns: `nil` when there is no node of this session.
    private func create(_ prefix: String, data: [UInt8]) async throws -> Place? {
        do {
            let created = try await store.create("\(path)/\(prefix)", data: data, mode: .ephemeralSequential)
            return place(created.path, created.stat)
        } catch let error as ZooKeeperError where error.outcome == .unknown {
            return try await store.persistently(until: nil) { try await find(prefix) }
        }
    }

    /// Finds the node of a create without a response. One of an earlier session ends with that session.
    private func find(_ prefix: String) async throws -> Place? {
        // From here on, the create can no longer be applied.
        try await store.sync(path)
        guard let name = try await store.childNames(of: path).first(where: { $0.hasPrefix(prefix) }),
            let stat = try await store.exists("\(path)/\(name)")
        else { return nil }
        return stat.ephemeralOwner == store.sessionState.sessionID ? place("\(path)/\(name)", stat) : nil
    }

    private func place(_ path: String, _ stat: Stat) -> Place? {
        LockNode(NodePath.name(of: path)).map {
            Place(node: $0, session: stat.ephemeralOwner, token: stat.czxid)
        }
    }

    // MARK: Leaving

    /// Gives up a place, also in a cancelled task. Returns after five seconds at the latest. A task of its own goes on
    /// until the node is gone, because the session, and the node with it, live as long as the servers do not respond.
    func leave(_ place: Place) async -> Departure {
        let removal = Task { await remove(place) }
        // In another task, because the caller's may be cancelled.
        return await Task {
            await isDone(removal, until: store.now + Self.patience) ? await removal.value : .unfinished
        }.value
    }

    private func remove(_ place: Place) async -> Departure {
        while store.sessionState.sessionID == place.session, store.sessionState.phase != .closed {
            // It returns a retryable code after five seconds without a response.
            switch await store.deleteIfPossible("\(path)/\(place.node.name)") {
            case nil, .noNode?: return store.sessionState.sessionID == place.session ? .deleted : .sessionEnded
            case let code? where !code.isRetryable: return .refused(code)
            default: continue
            }
        }
        return .sessionEnded
    }

    /// Waits until a place is lost: its session has ended, or another client has deleted its node.
    func untilLost(_ place: Place) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await state in store.sessionStates
                where state.sessionID != place.session || state.phase == .closed { return }
            }
            group.addTask {
                while !Task.isCancelled {
                    do {
                        return try await store.untilDeleted("\(path)/\(place.node.name)")
                    } catch let error as ZooKeeperError where error.isRetryable {
                        await error.pauseIfRefusedAtOnce(store)
                    } catch {
                        return
                    }
                }
            }
            await group.next()
            group.cancelAll()
        }
    }

    /// Waits for a task up to a time limit, or until the surrounding task is cancelled. The task goes on in any case.
    ///
    /// - Returns: whether the task has ended.
    private func isDone<Success, Failure>(_ task: Task<Success, Failure>, until end: Duration?) async -> Bool {
        let (ends, end) = (AsyncStream.makeStream(of: Bool.self), end)
        let watcher = Task {
            _ = await task.result
            ends.continuation.yield(true)
            ends.continuation.finish()
        }
        let timer = end.map { end in
            Task {
                // A timer is needed, because no event tells that no server responds.
                try? await store.sleep(for: max(.zero, end - store.now))
                ends.continuation.finish()
            }
        }
        defer {
            timer?.cancel()
            watcher.cancel()
        }
        // The loop also ends when the surrounding task is cancelled.
        for await _ in ends.stream { return true }
        return false
    }
}
