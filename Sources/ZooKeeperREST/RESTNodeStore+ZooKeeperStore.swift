import GatewayProtocol
public import ZooKeeper

extension RESTNodeStore: ZooKeeperStore {
    /// What the gateway of the present session supports: everything when it advertises transactions and watches, and
    /// otherwise only single reads and writes.
    ///
    /// - Throws: `ZooKeeperError` when no gateway opens a session within ``RESTConfiguration/requestTimeout``.
    public var capabilities: ZooKeeperCapabilities {
        get async throws {
            let link = try await session.link(until: .now + configuration.requestTimeout)
            return link.hasExtensions ? [.transactions, .watches, .quotas, .multiRead] : []
        }
    }
    /// The largest multi in bytes, as the sum of ``size(of:)`` over its operations and 32 bytes.
    public var maximumRequestSize: Int { configuration.maximumRequestSize }

    /// Returns how many bytes an operation adds to a multi, as ZooKeeper counts them, whatever the encoding in HTTP.
    /// Leaves room for a chroot, with which the gateway may lengthen the path.
    public func size(of operation: ZooKeeperOperation) -> Int { operation.sizeInMulti + 64 }

    /// The present state of the session.
    public var sessionState: SessionState { session.source.current }
    /// The state of the session: the present one, and each later one.
    public var sessionStates: SessionStates { session.source.states }

    /// Creates a node.
    public func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try check(.create(path, data: data, mode: mode))
        return try await perform { try await $0.create(path, data: data, mode: mode) }
    }
    /// Deletes a node if it has the version.
    public func delete(_ path: String, version: Int32?) async throws {
        try check(.delete(path, version: version))
        try await perform { try await $0.delete(path, version: version) }
    }
    /// Sets a node's data if the node has the version.
    public func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try check(.set(path, data: data, version: version))
        return try await perform { try await $0.set(path, data: data, version: version) }
    }
    /// Returns a node's data and metadata.
    public func get(_ path: String) async throws -> Node {
        guard let node = try await get([path])[0] else { throw ZooKeeperError.noNode(path) }
        return node
    }
    /// Returns the data and metadata of several nodes, each read separately; `nil` where there is no node.
    public func get(_ paths: [String]) async throws -> [Node?] {
        for path in paths { try NodePath.validate(path) }
        return paths.isEmpty ? [] : try await perform { try await $0.get(paths) }
    }
    /// Returns a node's metadata; `nil` when there is no node.
    public func exists(_ path: String) async throws -> Stat? {
        try NodePath.validate(path)
        return try await perform { try await $0.exists(path) }
    }
    /// Returns the names of a node's children.
    public func children(of path: String) async throws -> NodeChildren {
        try NodePath.validate(path)
        return try await perform { try await $0.children(of: path) }
    }
    /// Returns the entries of a node's access control list; `nil` when the gateway has no extensions.
    public func aclEntries(of path: String) async throws -> [ACL]? {
        try NodePath.validate(path)
        return try await perform { try await $0.acl(of: path) }
    }
    /// Makes the servers count the bytes of a node and of all nodes below it.
    ///
    /// - Throws: `ZooKeeperError`; always `ZooKeeperError.Code.unimplemented` when the gateway has no extensions.
    public func trackUsage(of path: String) async throws {
        try await perform { try await $0.trackUsage(of: path) }
    }
    /// Returns the bytes of a node and of all nodes below it; `nil` when the servers do not count them.
    public func byteUsage(of path: String) async throws -> Int? {
        try await perform { try await $0.byteUsage(of: path) }
    }
    /// Waits until later reads see every earlier write.
    public func sync(_ path: String) async throws {
        try NodePath.validate(path)
        try await perform { try await $0.sync(path) }
    }
    /// Applies all operations or none. Without transactions in ``capabilities``, applies them in steps.
    public func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult] {
        try Request.multi(operations).validate(maximumSize: .max)
        try checkSize(of: operations)
        return try await perform { try await $0.multi(operations) }
    }

    /// Returns a node's data, now and after each change, without a buffer.
    public func dataUpdates(of path: String) -> some AsyncSequence<Node?, any Error> & Sendable {
        PollingSequence(
            revision: { $0.map { .init(created: $0.stat.czxid, changed: $0.stat.mzxid) } },
            read: { [self] in
                try NodePath.validate(path)
                return try await perform { try await $0.get([path])[0] }
            },
            poll: { [self] revision in try await perform { try await $0.node(path, after: revision) } })
    }
    /// Returns the names of a node's children, now and after each change, without a buffer.
    public func childrenUpdates(of path: String) -> some AsyncSequence<NodeChildren?, any Error> & Sendable {
        PollingSequence(
            revision: { $0.map { .init(created: $0.stat.czxid, changed: $0.stat.pzxid) } },
            read: { [self] in
                do {
                    return try await children(of: path)
                } catch let error as ZooKeeperError where error.code == .noNode {
                    return nil
                }
            },
            poll: { [self] revision in try await perform { try await $0.children(of: path, after: revision) } })
    }

    // MARK: Checks before sending

    private func check(_ operation: ZooKeeperOperation) throws {
        try Request.multi([operation]).validate(maximumSize: .max)
        try checkSize(of: [operation])
    }

    private func checkSize(of operations: [ZooKeeperOperation]) throws {
        let size = operations.reduce(32) { $0 + self.size(of: $1) }
        if size <= maximumRequestSize { return }
        throw ZooKeeperError(
            code: .requestTooLarge,
            message: "Not sent: the request has \(size) bytes, but the limit is \(maximumRequestSize). Send less at a "
                + "time, or raise the client's maximumRequestSize.", path: nil, outcome: .notApplied)
    }
}
