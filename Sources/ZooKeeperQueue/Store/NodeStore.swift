public import ZooKeeper

/// All that the queue asks of a ZooKeeper: a small set of operations, watches, and the state of the session.
///
/// A `ZooKeeperClient` is used through one; another can speak another protocol, or keep the tree in memory for tests. The
/// guarantees of the queue hold over every store that keeps these rules:
///
/// - a multi is atomic, and its operations share one zxid;
/// - errors are `ZooKeeperError`, whose outcome is `unknown` whenever the operation may have been applied;
/// - requests of one session are applied in the order in which they were sent, and once the session has an answer to a write
///   or to ``sync(_:)``, nothing that it sent before can still be applied later. The answer to a read says less: after a lost
///   connection, another server may give it before it has seen a write that is still on its way;
/// - an ephemeral node goes when its session ends, and a new session is told by
///   `SessionState.sessionID`.
public protocol NodeStore: Sendable {
    /// The largest multi in bytes that the store takes: the sum of ``size(of:)`` and 32 bytes.
    var maximumRequestSize: Int { get }
    /// What an operation adds to a multi, in bytes.
    func size(of operation: Operation) -> Int
    /// The session now.
    var sessionState: SessionState { get }
    /// The session now and after each change.
    var sessionStates: SessionStates { get }

    /// The time since some moment in the past, on the clock by which ``sleep(for:)`` waits. By default the machine's.
    var now: Duration { get }
    /// Waits.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws

    /// Creates a node.
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode
    /// Creates the root of the store's paths where it is missing, such as a client's chroot. By default nothing, because a root is
    /// always there.
    func createRoot() async throws
    /// Deletes a node, if it has the version.
    func delete(_ path: String, version: Int32?) async throws
    /// Sets a node's data, if it has the version.
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    /// A node's data and metadata.
    func get(_ path: String) async throws -> Node
    /// Several nodes' data and metadata, each read by itself, in the order of the paths; `nil` where there is no node. By
    /// default one call of ``get(_:)-(String)`` each, all at once.
    func get(_ paths: [String]) async throws -> [Node?]
    /// A node's metadata, `nil` when there is no node.
    func exists(_ path: String) async throws -> Stat?
    /// The names of a node's children.
    func children(of path: String) async throws -> NodeChildren
    /// A node's access control list; `nil` where the store cannot tell, which is also the default.
    func acl(of path: String) async throws -> [ACL]?
    /// Begins to count the bytes of a node and of all below it. By default it throws: the store cannot.
    func countBytes(below path: String) async throws
    /// The bytes of a node and of all below it; `nil` where they are not counted, which is also the default.
    func bytes(below path: String) async throws -> Int?
    /// Returns when later reads see every write that came before.
    func sync(_ path: String) async throws
    /// Applies all operations or none. A store that can do it only in steps says so in ``appliesTransactionsInSteps``.
    func multi(_ operations: [Operation]) async throws -> [OperationResult]
    /// Whether a multi is done in steps, which a failure of the process may leave undone halfway: then the queue's guarantee is
    /// less, as the store says. By default not.
    var appliesTransactionsInSteps: Bool { get async throws }
    /// A node's data now and after each change, without a buffer.
    func data(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable
    /// A node's data now and after each change until it is deleted, without a buffer; then `nil` once, and nothing is
    /// watched any more. By default ``data(of:)``.
    func dataUntilDeleted(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable
    /// The names of a node's children now and after each change, without a buffer.
    func childrenUpdates(of path: String) -> any AsyncSequence<NodeChildren?, any Error> & Sendable
}

extension NodeStore {
    /// The time since this process first asked for it.
    public var now: Duration { Beginning.moment.duration(to: .now) }
    /// No: all or nothing.
    public var appliesTransactionsInSteps: Bool { get async throws { false } }
    /// Nothing: the root is there.
    public func createRoot() async throws {}
    /// `nil`: not known.
    public func acl(of path: String) async throws -> [ACL]? { nil }
    /// Throws: a bound of bytes is not to be had.
    public func countBytes(below path: String) async throws {
        throw QueueError(
            .invalidArgument, "This kind of ZooKeeper does not count bytes: bound the number of messages instead.")
    }
    /// `nil`: not known.
    public func bytes(below path: String) async throws -> Int? { nil }
    /// As ``data(of:)``.
    public func dataUntilDeleted(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable { data(of: path) }
    /// Reads the nodes at once.
    public func get(_ paths: [String]) async throws -> [Node?] {
        try await withThrowingTaskGroup(of: (Int, Node?).self) { group in
            for (index, path) in paths.enumerated() {
                group.addTask {
                    do {
                        return (index, try await self.get(path))
                    } catch let error as ZooKeeperError where error.code == .noNode {
                        return (index, nil)
                    }
                }
            }
            return try await group.reduce(into: [Node?](repeating: nil, count: paths.count)) { $0[$1.0] = $1.1 }
        }
    }
    /// Waits as `Task.sleep(for:)` does.
    public func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
}

private enum Beginning {
    static let moment = ContinuousClock.now
}
