public import ZooKeeper

extension InMemorySession: ZooKeeperStore {
    /// Transactions, watches and quotas, as for a `ZooKeeperClient`.
    public var capabilities: ZooKeeperCapabilities { [.transactions, .watches, .quotas] }
    /// The maximum size of a request in bytes, which is somewhat below a server's default limit (`jute.maxbuffer`).
    public var maximumRequestSize: Int { 1_000_000 }
    /// Returns the bytes that an operation adds to a multi, in the jute encoding.
    public func size(of operation: ZooKeeperOperation) -> Int { operation.sizeInMulti }
    /// The current state of the session.
    public var sessionState: SessionState { source.current }
    /// The state of the session, now and after each change.
    public var sessionStates: SessionStates { source.states }
    /// The time on the ZooKeeper's clock, real or virtual.
    public var now: Duration { zookeeper.timeline.now }
    /// Waits on the ZooKeeper's clock.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    public func sleep(for duration: Duration) async throws { try await zookeeper.timeline.sleep(for: duration) }

    /// Creates a node.
    public func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        let request = Request.create(path: path, data: data, mode: mode, acl: .open)
        guard case .created(let node) = try await perform(request) else { throw Self.mismatch(request) }
        return node
    }

    /// Deletes a node that has no children, if its data has the version.
    public func delete(_ path: String, version: Int32?) async throws {
        _ = try await perform(.delete(path: path, version: version))
    }

    /// Sets a node's data, if the data has the version.
    public func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        let request = Request.set(path: path, data: data, version: version)
        guard case .stat(let stat) = try await perform(request) else { throw Self.mismatch(request) }
        return stat
    }

    /// Sets a node's access control list, if the list has the version.
    public func setACL(of path: String, to acl: [ACL], version: Int32? = nil) async throws {
        _ = try await perform(.setACL(path: path, acl: acl, version: version))
    }

    /// Returns a node's data and metadata.
    public func get(_ path: String) async throws -> Node { try await node(path, watch: false) }
    /// Returns a node's metadata, or `nil` when the node does not exist.
    public func exists(_ path: String) async throws -> Stat? { try await stat(path, watch: false) }
    /// Returns the names of a node's children.
    public func children(of path: String) async throws -> NodeChildren { try await children(of: path, watch: false) }
    /// Returns the entries of a node's access control list.
    public func aclEntries(of path: String) async throws -> [ACL]? {
        let request = Request.getACL(path: path)
        guard case .acl(let acl) = try await perform(request) else { throw Self.mismatch(request) }
        return acl.entries
    }
    /// Does nothing, because this ZooKeeper always counts bytes.
    public func trackUsage(of path: String) async throws {}
    /// Returns the bytes of a node and all its descendants.
    public func byteUsage(of path: String) async throws -> Int? {
        _ = try await stat(path, watch: false)
        return zookeeper.byteUsage(of: path)
    }
    /// Returns when later reads see every earlier write.
    public func sync(_ path: String) async throws { _ = try await perform(.sync(path: path)) }

    /// Applies all operations or none of them.
    public func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult] {
        let request = Request.multi(operations)
        guard case .multi(let results) = try await perform(request) else { throw Self.mismatch(request) }
        return results
    }

    /// Returns a node's data, now and after each change. The element is `nil` while the node does not exist.
    public func dataUpdates(of path: String) -> WatchSequence<Node?> {
        WatchSequence(
            watches, path: path, node: { [self] in try await node(path, watch: true) },
            stat: { [self] in try await stat(path, watch: true) })
    }

    /// Returns a node's data, now and after each change, until the node is deleted.
    public func dataUpdatesUntilDeleted(of path: String) -> WatchSequence<Node?> {
        WatchSequence(watches, path: path, node: { [self] in try await node(path, watch: true) }, stat: { nil })
    }

    /// Returns the names of a node's children, now and after each change. The element is
    /// `nil` while the node does not exist.
    public func childrenUpdates(of path: String) -> WatchSequence<NodeChildren?> {
        WatchSequence(
            watches, path: path, children: { [self] in try await children(of: path, watch: true) },
            stat: { [self] in try await stat(path, watch: true) })
    }

    // MARK: Reads, with a watch or without

    package func stat(_ path: String, watch: Bool) async throws -> Stat? {
        let request = Request.exists(path: path, watch: watch)
        do {
            guard case .stat(let stat) = try await perform(request) else { throw Self.mismatch(request) }
            return stat
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    package func node(_ path: String, watch: Bool) async throws -> Node {
        let request = Request.get(path: path, watch: watch)
        guard case .node(let node) = try await perform(request) else { throw Self.mismatch(request) }
        return node
    }

    package func children(of path: String, watch: Bool) async throws -> NodeChildren {
        let request = Request.children(path: path, watch: watch)
        guard case .children(let children) = try await perform(request) else { throw Self.mismatch(request) }
        return children
    }

    private static func mismatch(_ request: Request) -> ZooKeeperError {
        ZooKeeperError(code: .runtimeInconsistency, path: request.path, sent: true)
    }
}
