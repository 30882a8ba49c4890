public import ZooKeeper

extension ZooKeeperStore {
    /// Creates a persistent node without data, and its missing ancestors. Leaves existing nodes unchanged.
    ///
    /// It retries after a lost response. After an error, ancestors that were created remain.
    ///
    /// - Throws: `ZooKeeperError`.
    public func ensurePath(_ path: String) async throws {
        try NodePath.validate(path)
        var missing = [path]
        while let node = missing.last {
            do {
                // Reads first, because a client without permission to create may find that the node exists.
                if node == "/" {
                    try await createRoot()
                } else if try await exists(node) == nil {
                    try await createIfMissing(node)
                }
                missing.removeLast()
            } catch let error as ZooKeeperError where error.code == .noNode {
                guard let parent = NodePath.parent(of: node) else { throw error }
                missing.append(parent)
            } catch let error as ZooKeeperError where error.isRetryable && error.code != .deadlineExceeded {
                await error.pauseIfRefusedAtOnce(self)
            }
        }
    }

    /// Deletes a node and all its descendants, children first. Skips nodes that another client has deleted.
    ///
    /// It is not atomic, retries after a lost response, and succeeds when there is no such node. After an error or a
    /// cancellation, the remaining nodes stay. It does not return while other clients keep creating nodes there.
    ///
    /// - Throws: `ZooKeeperError`; `CancellationError`.
    public func deleteRecursively(_ path: String) async throws {
        try NodePath.validate(path)
        guard path != "/" else {
            throw RecipeError(.invalidArgument, "The root cannot be deleted. Delete its children.")
        }
        var parents = [path]
        while let node = parents.last {
            try Task.checkCancellation()
            do {
                try await delete(node, version: nil)
                parents.removeLast()
            } catch let error as ZooKeeperError where error.code == .noNode {
                parents.removeLast()
            } catch let error as ZooKeeperError where error.code == .notEmpty {
                parents += try await persistently(until: nil) { try await childNames(of: node) }.map { "\(node)/\($0)" }
            } catch let error as ZooKeeperError where error.isRetryable && error.code != .deadlineExceeded {
                await error.pauseIfRefusedAtOnce(self)
            }
        }
    }

    /// Returns the names of a node's children; none when there is no such node.
    func childNames(of path: String) async throws -> [String] {
        do {
            return try await children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return []
        }
    }

    /// Waits until a node is deleted, or does not exist.
    func untilDeleted(_ path: String) async throws {
        for try await node in dataUpdatesUntilDeleted(of: path) where node == nil { return }
        try Task.checkCancellation()
        // The sequence has ended with the client.
        throw ZooKeeperError(
            code: .closed, message: "The client was closed. Create another one.", path: path, outcome: .notApplied)
    }

    /// Runs `body` until it succeeds, or until the time limit, while servers do not respond. `body` must be safe to
    /// repeat.
    func persistently<Result>(until end: Duration?, _ body: () async throws -> Result) async throws -> Result {
        while true {
            do {
                return try await body()
            } catch let error as ZooKeeperError where error.isRetryable {
                try Task.checkCancellation()
                if let end, now >= end { throw RecipeError.timedOut(error) }
                await error.pauseIfRefusedAtOnce(self)
            }
        }
    }

    /// Runs `body`, which can wait for an event, up to the time limit.
    func withLimit<Result: Sendable>(
        until end: Duration?, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        guard let end else { return try await body() }
        return try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await body() }
            group.addTask {
                // A timer is needed, because no event tells that the wait lasts.
                try await sleep(for: max(.zero, end - now))
                throw RecipeError.timedOut(nil)
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }
}

extension RecipeError {
    static func timedOut(_ cause: ZooKeeperError?) -> RecipeError {
        RecipeError(.timedOut, "The time limit passed. The caller holds nothing. Try again.", cause: cause)
    }
}
