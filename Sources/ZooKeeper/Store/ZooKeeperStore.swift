/// Access to a ZooKeeper: its operations, its watches, and the state of a session.
///
/// ``ZooKeeperClient`` is such a store. Others speak another protocol, or keep the tree in memory for tests, and a
/// program that is
/// written against this protocol runs over all of them. The queue of `ZooKeeperQueue` is one, and its guarantees hold
/// over every
/// store that keeps these rules:
///
/// - a multi is atomic and its operations share one zxid, unless ``capabilities`` lacks
/// ``ZooKeeperCapabilities/transactions``;
/// - errors are ``ZooKeeperError``, whose outcome is `unknown` whenever the operation may have been applied;
/// - the requests of one session are applied in the order in which they were sent. Once the session has received the
/// response to
///   a write or to ``sync(_:)``, nothing that it sent before can still be applied later. The response to a read says
///   less: after a
///   lost connection, another server may send it before it has seen a write that is still on its way;
/// - an ephemeral node is removed when its session ends, and ``SessionState/sessionID`` tells of a new session.
public protocol ZooKeeperStore: Sendable {
    /// The states of a node, as ``data(of:)`` returns them.
    associatedtype DataUpdates: AsyncSequence & Sendable
    where DataUpdates.Element == Node?, DataUpdates.Failure == any Error
    /// The states of a node's list of children, as ``childrenUpdates(of:)`` returns them.
    associatedtype ChildrenUpdates: AsyncSequence & Sendable
    where ChildrenUpdates.Element == NodeChildren?, ChildrenUpdates.Failure == any Error

    /// What the store can do beyond single reads and writes. By default all that ``ZooKeeperClient`` can:
    /// transactions, watches and
    /// quotas. A store that lacks one of them says so here.
    ///
    /// - Throws: ``ZooKeeperError`` when the store has to ask first and receives no response.
    var capabilities: ZooKeeperCapabilities { get async throws }
    /// The largest multi in bytes that the store takes: the sum of ``size(of:)`` and 32 bytes.
    var maximumRequestSize: Int { get }
    /// Returns what an operation adds to a multi, in bytes.
    func size(of operation: Operation) -> Int
    /// The session's present state.
    var sessionState: SessionState { get }
    /// The session's present state, and its state after each change.
    var sessionStates: SessionStates { get }

    /// The time since some moment in the past, on the clock by which ``sleep(for:)`` waits. By default the machine's.
    var now: Duration { get }
    /// Waits.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws

    /// Creates a node.
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode
    /// Creates the root of the store's paths where it is missing, such as a client's chroot. By default does nothing,
    /// because the
    /// root of a tree always exists.
    func createRoot() async throws
    /// Deletes a node, if it has the version.
    func delete(_ path: String, version: Int32?) async throws
    /// Sets a node's data, if it has the version.
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    /// Returns a node's data and metadata.
    func get(_ path: String) async throws -> Node
    /// Returns several nodes' data and metadata, in the order of the paths; `nil` where there is no node. Not an
    /// atomic snapshot:
    /// the store reads each node by itself. By default calls ``get(_:)-(String)`` for all of them at once.
    func get(_ paths: [String]) async throws -> [Node?]
    /// Returns a node's metadata, `nil` when there is no node.
    func exists(_ path: String) async throws -> Stat?
    /// Returns the names of a node's children.
    func children(of path: String) async throws -> NodeChildren
    /// Returns the entries of a node's access control list; `nil` where the store cannot read it, which is also the
    /// default.
    func aclEntries(of path: String) async throws -> [ACL]?
    /// Makes the servers count the bytes of a node and of all below it, from now on.
    ///
    /// - Throws: ``ZooKeeperError``, and by default always (``ZooKeeperError/Code/unimplemented``): see
    ///   ``ZooKeeperCapabilities/quotas``.
    func countBytes(below path: String) async throws
    /// Returns the bytes of a node and of all below it; `nil` where the servers do not count them, which is also the
    /// default.
    func bytes(below path: String) async throws -> Int?
    /// Returns when later reads see every write that came before.
    func sync(_ path: String) async throws
    /// Applies all operations or none. A store without ``ZooKeeperCapabilities/transactions`` applies them one at a
    /// time.
    func multi(_ operations: [Operation]) async throws -> [OperationResult]
    /// Returns a node's data and metadata, now and after each change, without a buffer; `nil` while there is no node.
    func data(of path: String) -> DataUpdates
    /// Returns a node's data and metadata, now and after each change until the node is deleted, without a buffer.
    /// Then it yields
    /// `nil` once and watches no more. By default ``data(of:)``.
    func dataUntilDeleted(of path: String) -> DataUpdates
    /// Returns the names of a node's children, now and after each change, without a buffer; `nil` while there is no
    /// node.
    func childrenUpdates(of path: String) -> ChildrenUpdates
}

extension ZooKeeperStore {
    /// All that ``ZooKeeperClient`` can: transactions, watches and quotas.
    public var capabilities: ZooKeeperCapabilities { get async throws { [.transactions, .watches, .quotas] } }
    /// The time since this process first asked for it.
    public var now: Duration { Beginning.moment.duration(to: .now) }
    /// Waits on the machine's clock, as `Task.sleep(for:)` does: the standard for stores without a virtual clock.
    public func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
    /// Does nothing: the root exists.
    public func createRoot() async throws {}
    /// Returns `nil`: not known.
    public func aclEntries(of path: String) async throws -> [ACL]? { nil }
    /// Throws ``ZooKeeperError/Code/unimplemented``.
    public func countBytes(below path: String) async throws {
        throw ZooKeeperError(
            code: .unimplemented, message: "The store does not count bytes.", path: path, outcome: .notApplied)
    }
    /// Returns `nil`: not known.
    public func bytes(below path: String) async throws -> Int? { nil }
    /// Returns what ``data(of:)`` does.
    public func dataUntilDeleted(of path: String) -> DataUpdates { data(of: path) }
    /// Reads the nodes at once, with a request for each.
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
}

private enum Beginning {
    static let moment = ContinuousClock.now
}
