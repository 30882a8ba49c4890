public import ZooKeeper

/// Elects one of many processes to lead.
///
/// ```swift
/// let election = LeaderElection(zookeeper, path: "/leaders/billing", candidate: "host-1")
/// try await election.run { leadership in
///     while !Task.isCancelled { try await billNextCustomer(token: leadership.fencingToken) }
/// }
/// ```
///
/// Candidates lead in order of entry. As with ``DistributedLock``, two processes can briefly believe that they lead.
/// Only one has the larger token.
public struct LeaderElection: Sendable {
    private let line: LockLine
    private let candidate: String

    /// Creates a candidate. Makes no request.
    ///
    /// - Parameters:
    ///   - store: a client of the ensemble.
    ///   - path: the election, which all candidates share, and nothing else may use.
    ///   - candidate: what the other processes see as the leader's name.
    public init(_ store: any ZooKeeperStore, path: String, candidate: String) {
        line = LockLine(store: store, path: path)
        self.candidate = candidate
    }

    /// Waits to be elected, and runs `body` as the leader. Runs again after losing the leadership.
    ///
    /// The task of `body` is cancelled when the leadership is lost, and when the surrounding task is cancelled. When
    /// `body` ends by itself, this process resigns, and the method returns.
    ///
    /// - Returns: the result of `body`.
    /// - Throws: the errors of `body`, unless the leadership was lost; `CancellationError`; `ZooKeeperError`.
    public func run<Result: Sendable>(
        _ body: @escaping @Sendable (LockHolder) async throws -> Result
    ) async throws -> Result {
        while true {
            do {
                return try await line.hold(.write, data: Array(candidate.utf8), within: nil, body)
            } catch let error as RecipeError where error.code == .lost {
                try Task.checkCancellation()
            }
        }
    }

    /// Returns the name of the process that leads, or that will lead as soon as it notices; `nil` when there is none.
    ///
    /// - Throws: `ZooKeeperError`.
    public func leader() async throws -> String? {
        while true {
            let names = try await line.store.childNames(of: line.path).compactMap(LockNode.init)
            guard let first = names.min(by: { $0.sequence < $1.sequence }) else { return nil }
            // Otherwise it has resigned since.
            if let node = try await line.store.get(["\(line.path)/\(first.name)"])[0] {
                return String(decoding: node.data ?? [], as: UTF8.self)
            }
        }
    }
}
