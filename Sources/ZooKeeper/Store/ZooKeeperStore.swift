/// Access to a ZooKeeper: its operations, its watches, and the state of a session.
///
/// ``ZooKeeperClient`` is such a store. Other stores use another protocol, or keep the tree in memory for tests. A
/// program that is written against this protocol runs on all of them. `ZooKeeperQueue` is such a program, and its
/// guarantees hold on every store that follows these rules:
///
/// - A multi is atomic and its operations share one zxid, unless ``capabilities`` lacks
///   ``ZooKeeperCapabilities/transactions``.
/// - Errors are ``ZooKeeperError``. Their outcome is `unknown` whenever the operation may have been applied.
/// - The requests of one session are applied in the order in which they were sent. Once the session has received
///   the response to a write or to ``sync(_:)``, nothing that it sent before can still be applied later. The
///   response to a read says less: after a lost connection, another server may send it before that server has seen
///   a write that is still on its way.
/// - An ephemeral node is removed when its session ends, and a different
///   ``SessionState/sessionID`` means a new session.
public protocol ZooKeeperStore: Sendable {
    /// The states of a node, as ``dataUpdates(of:)`` returns them.
    associatedtype DataUpdates: AsyncSequence & Sendable
    where DataUpdates.Element == Node?, DataUpdates.Failure == any Error
    /// The states of a node's list of children, as ``childrenUpdates(of:)`` returns them.
    associatedtype ChildrenUpdates: AsyncSequence & Sendable
    where ChildrenUpdates.Element == NodeChildren?, ChildrenUpdates.Failure == any Error

    /// The capabilities of the store. By default those of ``ZooKeeperClient``: transactions, watches and quotas. A
    /// store that lacks one of them must implement this property.
    ///
    /// - Throws: ``ZooKeeperError`` when the store has to ask first and receives no response.
    var capabilities: ZooKeeperCapabilities { get async throws }
    /// The maximum size of a multi in bytes: the sum of ``size(of:)`` of its operations, plus 32.
    var maximumRequestSize: Int { get }
    /// Returns the bytes that an operation adds to a multi.
    func size(of operation: ZooKeeperOperation) -> Int
    /// The current state of the session.
    var sessionState: SessionState { get }
    /// The state of the session, now and after each change.
    var sessionStates: SessionStates { get }

    /// The time since an arbitrary moment in the past, on the clock that ``sleep(for:)``
    /// uses. By default the machine's clock.
    var now: Duration { get }
    /// Waits for the duration.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws

    /// Creates a node.
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode
    /// Creates the root of the store's paths if it is missing, such as a client's chroot. By default does nothing,
    /// because the root of a tree always exists.
    func createRoot() async throws
    /// Deletes a node, if its data has the version.
    func delete(_ path: String, version: Int32?) async throws
    /// Sets a node's data, if the data has the version.
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    /// Returns a node's data and metadata.
    func get(_ path: String) async throws -> Node
    /// Returns the data and metadata of several nodes, in the order of the paths. The element of a
    /// node that does not exist is `nil`.
    ///
    /// The result is not an atomic snapshot, because the store reads each node separately. By default calls
    /// ``get(_:)-(String)`` for all nodes at once.
    func get(_ paths: [String]) async throws -> [Node?]
    /// Returns a node's metadata, or `nil` when the node does not exist.
    func exists(_ path: String) async throws -> Stat?
    /// Returns the names of a node's children.
    func children(of path: String) async throws -> NodeChildren
    /// Returns the entries of a node's access control list. `nil` when the store cannot
    /// read it, which is also the default.
    func aclEntries(of path: String) async throws -> [ACL]?
    /// Makes the servers count the bytes of a node and all its descendants, permanently.
    ///
    /// - Throws: ``ZooKeeperError``. The default always throws ``ZooKeeperError/Code/unimplemented``; see
    ///   ``ZooKeeperCapabilities/quotas``.
    func trackUsage(of path: String) async throws
    /// Returns the bytes of a node and all its descendants. `nil` when the servers do not count
    /// them, which is also the default.
    func byteUsage(of path: String) async throws -> Int?
    /// Returns when later reads see every earlier write.
    func sync(_ path: String) async throws
    /// Applies all operations or none of them. A store without
    /// ``ZooKeeperCapabilities/transactions`` applies them one at a time.
    func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult]
    /// Returns a node's data and metadata, now and after each change, without a buffer. The element is
    /// `nil` while the node does not exist.
    func dataUpdates(of path: String) -> DataUpdates
    /// Returns a node's data and metadata, now and after each change, until the node is deleted, without a buffer. The
    /// sequence then yields `nil` once and watches no more. By default returns ``dataUpdates(of:)``.
    func dataUpdatesUntilDeleted(of path: String) -> DataUpdates
    /// Returns the names of a node's children, now and after each change, without a buffer. The element is
    /// `nil` while the node does not exist.
    func childrenUpdates(of path: String) -> ChildrenUpdates
}

extension ZooKeeperStore {
    /// The capabilities of ``ZooKeeperClient``: transactions, watches and quotas.
    public var capabilities: ZooKeeperCapabilities { get async throws { [.transactions, .watches, .quotas] } }
    /// The time since this process first read this property.
    public var now: Duration { TimeOrigin.instant.duration(to: .now) }
    /// Waits on the machine's clock, as `Task.sleep(for:)` does. For stores without a virtual clock.
    public func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
    /// Does nothing, because the root always exists.
    public func createRoot() async throws {}
    /// Returns `nil`, because the list is not known.
    public func aclEntries(of path: String) async throws -> [ACL]? { nil }
    /// Throws ``ZooKeeperError/Code/unimplemented``.
    public func trackUsage(of path: String) async throws {
        throw ZooKeeperError(
            code: .unimplemented, message: "This store cannot measure the bytes below a node. Use another store.",
            path: path,
            outcome: .notApplied)
    }
    /// Returns `nil`, because the bytes are not counted.
    public func byteUsage(of path: String) async throws -> Int? { nil }
    /// Returns ``dataUpdates(of:)``.
    public func dataUpdatesUntilDeleted(of path: String) -> DataUpdates { dataUpdates(of: path) }
    /// Reads all nodes at once, with one request for each.
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

private enum TimeOrigin {
    static let instant = ContinuousClock.now
}
