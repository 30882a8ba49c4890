import Synchronization

/// Tracks the ephemeral nodes that this client has created in its session.
///
/// When a session ends, the ensemble deletes all its ephemeral nodes in one transaction, and one of more than 1 MB can
/// stop the whole ensemble (ZOOKEEPER-4306). So the total size of their paths is limited; see
/// "Sessions and credentials" in <doc:OverTheCClient>.
final class EphemeralBudget: Sendable {
    static let maximumBytes = 500_000

    private struct State {
        var sessionID: Int64 = 0
        var bytes = 0
        var costs: [ExactString: Int] = [:]

        /// Starts again for another session, because the nodes of the previous one are gone.
        mutating func begin(_ id: Int64) {
            if id != sessionID { self = State(sessionID: id) }
        }
    }
    private let state = Mutex(State())

    /// The bytes of the paths of nodes that exist or may exist.
    var bytes: Int { state.withLock { $0.bytes } }

    /// Reserves the bytes of a request before it is sent.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/tooManyEphemerals``) when the limit would be exceeded.
    func reserve(_ request: Request, sessionID: Int64) throws {
        let cost = request.ephemeralCost
        guard cost > 0 else { return }
        try state.withLock { state in
            state.begin(sessionID)
            guard state.bytes + cost <= Self.maximumBytes else {
                throw ZooKeeperError(
                    code: .tooManyEphemerals,
                    message: "Not sent: the paths of the session's ephemeral nodes would exceed \(Self.maximumBytes) "
                        + "bytes in total. Delete some of these nodes, or use another client.",
                    path: request.path, outcome: .notApplied)
            }
            state.bytes += cost
        }
    }

    /// Releases the bytes of a request that certainly created nothing.
    func release(_ request: Request, sessionID: Int64) {
        let cost = request.ephemeralCost
        guard cost > 0 else { return }
        state.withLock { state in
            state.begin(sessionID)
            state.bytes = max(0, state.bytes - cost)
        }
    }

    /// Records the nodes that an applied request created, and releases the bytes of those that it deleted.
    func applied(_ request: Request, _ reply: Reply, sessionID: Int64) {
        switch (request, reply) {
        case (.create(_, _, let mode, _), .created(let node)) where mode.isEphemeral:
            state.withLock { state in
                state.begin(sessionID)
                state.costs[ExactString(node.path)] = request.ephemeralCost
            }
        case (.delete(let path, _), _): release(paths: [path])
        case (.multi(let operations), .multi(let results)):
            for case (.create(let path, _, let mode, _), .created(let createdPath)) in zip(operations, results)
            where mode.isEphemeral {
                let cost = Request.ephemeralCost(of: path, mode)
                state.withLock { $0.costs[ExactString(createdPath)] = cost }
            }
            let deleted = operations.compactMap { operation -> String? in
                if case .delete(let path, _) = operation { return path }
                return nil
            }
            release(paths: deleted)
        default: break
        }
    }

    private func release(paths: [String]) {
        state.withLock { state in
            guard !state.costs.isEmpty else { return }
            for path in paths { state.bytes -= state.costs.removeValue(forKey: ExactString(path)) ?? 0 }
        }
    }
}

extension Request {
    /// The bytes that the request adds to the paths of the session's ephemeral nodes.
    fileprivate var ephemeralCost: Int {
        switch self {
        case .create(let path, _, let mode, _): return Self.ephemeralCost(of: path, mode)
        case .multi(let operations):
            return operations.reduce(0) { sum, operation in
                guard case .create(let path, _, let mode, _) = operation else { return sum }
                return sum + Self.ephemeralCost(of: path, mode)
            }
        default: return 0
        }
    }

    /// Returns the cost of the requested path. For a sequential node it includes the number that the server appends,
    /// which has at most eleven characters.
    fileprivate static func ephemeralCost(of path: String, _ mode: CreateMode) -> Int {
        mode.isEphemeral ? 4 + path.utf8.count + (mode.isSequential ? 11 : 0) : 0
    }
}
