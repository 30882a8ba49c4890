// The protocol's methods have no timeout. Each call here passes `timeout`, because a call
// without it would be the method itself.
extension ZooKeeperClient: ZooKeeperStore {
    /// Transactions, watches and quotas, and multi-reads if the transport has them. The C client does not: it sends one
    /// request for each node, all at once.
    public var capabilities: ZooKeeperCapabilities {
        configuration.transport.readsSeveralNodes
            ? [.transactions, .watches, .quotas, .multiRead] : [.transactions, .watches, .quotas]
    }

    /// Creates a node with the default access control list. See ``create(_:data:mode:acl:timeout:)``.
    @discardableResult
    public func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try await create(path, data: data, mode: mode, timeout: nil)
    }
    /// Creates the chroot if it is missing. See ``ensurePath(_:acl:timeout:)``.
    public func createRoot() async throws { try await ensurePath("/") }
    /// Deletes a node that has no children, if its data has the version. See ``delete(_:version:timeout:)``.
    public func delete(_ path: String, version: Int32?) async throws {
        try await delete(path, version: version, timeout: nil)
    }
    /// Sets a node's data, if the data has the version. See ``set(_:data:version:timeout:)``.
    @discardableResult
    public func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await set(path, data: data, version: version, timeout: nil)
    }
    /// Returns a node's data and metadata. See ``get(_:timeout:)-(String,_)``.
    public func get(_ path: String) async throws -> Node { try await get(path, timeout: nil) }
    /// Returns the data and metadata of several nodes. See ``get(_:timeout:)-([String],_)``.
    public func get(_ paths: [String]) async throws -> [Node?] { try await get(paths, timeout: nil) }
    /// Returns a node's metadata, or `nil` when the node does not exist. See ``exists(_:timeout:)``.
    public func exists(_ path: String) async throws -> Stat? { try await exists(path, timeout: nil) }
    /// Returns the names of a node's children. See ``children(of:timeout:)``.
    public func children(of path: String) async throws -> NodeChildren { try await children(of: path, timeout: nil) }
    /// Returns the entries of a node's access control list. See ``acl(of:timeout:)``.
    public func aclEntries(of path: String) async throws -> [ACL]? { try await acl(of: path).entries }
    /// Returns when later reads see every earlier write. See ``sync(_:timeout:)``.
    public func sync(_ path: String) async throws { try await sync(path, timeout: nil) }
    /// Applies all operations or none of them. See ``multi(_:timeout:)``.
    @discardableResult
    public func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult] {
        try await multi(operations, timeout: nil)
    }
}
