import GatewayExtensions
public import ZooKeeper
public import ZooKeeperQueue

extension RestNodeStore: NodeStore {
    /// The largest multi in bytes, as ``size(of:)`` counts them.
    public var maximumRequestSize: Int { configuration.maximumRequestSize - 512 }

    /// What an operation adds to a request's body, in bytes, as it is written in JSON.
    public func size(of operation: Operation) -> Int {
        let data: Int
        let access: Int
        switch operation {
        case .create(_, let bytes, _, let acl):
            data = bytes?.count ?? 0
            access = (acl ?? []).reduce(0) { $0 + 64 + 2 * ($1.scheme.utf8.count + $1.id.utf8.count) }
        case .set(_, let bytes, _): (data, access) = (bytes?.count ?? 0, 0)
        case .delete, .check: (data, access) = (0, 0)
        }
        // Slashes are escaped, and so may be any character of a path; bytes are in base64.
        return 96 + 2 * operation.path.utf8.count + (data + 2) / 3 * 4 + access
    }

    /// The session now.
    public var sessionState: SessionState { session.source.current }
    /// The session now and after each change.
    public var sessionStates: SessionStates { session.source.states }

    /// Creates a node.
    public func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try check(.create(path, data: data, mode: mode))
        return try await calls.create(path, data: data, mode: mode)
    }
    /// Deletes a node, if it has the version.
    public func delete(_ path: String, version: Int32?) async throws {
        try check(.delete(path, version: version))
        try await calls.delete(path, version: version)
    }
    /// Sets a node's data, if it has the version.
    public func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try check(.set(path, data: data, version: version))
        return try await calls.set(path, data: data, version: version)
    }
    /// A node's data and metadata.
    public func get(_ path: String) async throws -> Node {
        guard let node = try await get([path])[0] else { throw ZooKeeperError.noNode(path) }
        return node
    }
    /// Several nodes' data and metadata, each read by itself; `nil` where there is no node.
    public func get(_ paths: [String]) async throws -> [Node?] {
        for path in paths { try NodePath.validate(path) }
        return paths.isEmpty ? [] : try await calls.get(paths)
    }
    /// A node's metadata, `nil` when there is no node.
    public func exists(_ path: String) async throws -> Stat? {
        try NodePath.validate(path)
        return try await calls.exists(path)
    }
    /// The names of a node's children.
    public func children(of path: String) async throws -> NodeChildren {
        try NodePath.validate(path)
        return try await calls.children(of: path)
    }
    /// A node's access control list; `nil` where the gateway does not tell.
    public func acl(of path: String) async throws -> [ACL]? {
        try NodePath.validate(path)
        return try await calls.acl(of: path)
    }
    /// Begins to count the bytes of a node and of all below it; a gateway without extensions does not.
    public func countBytes(below path: String) async throws { try await calls.countBytes(below: path) }
    /// The bytes of a node and of all below it; `nil` where they are not counted.
    public func bytes(below path: String) async throws -> Int? { try await calls.bytes(below: path) }
    /// Returns when later reads see every write that came before.
    public func sync(_ path: String) async throws {
        try NodePath.validate(path)
        try await calls.sync(path)
    }
    /// Applies all operations or none, or in steps: see ``appliesTransactionsInSteps``.
    public func multi(_ operations: [Operation]) async throws -> [OperationResult] {
        try Request.multi(operations).validate(maximumSize: .max)
        try check(size: operations.reduce(0) { $0 + size(of: $1) })
        return try await calls.multi(operations)
    }
    /// What each transaction is applied as: altogether or not at all, or, without the gateway's help, in steps.
    public var appliesTransactionsInSteps: Bool {
        get async throws { try await !session.link(until: .now + configuration.callDeadline).hasExtensions }
    }

    /// A node's data now and after each change, without a buffer.
    public func data(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable {
        RestUpdates(
            mark: { $0.map { .init(created: $0.stat.czxid, changed: $0.stat.mzxid) } },
            read: { [self] in
                try NodePath.validate(path)
                return try await calls.get([path])[0]
            },
            change: { [self] in try await calls.node(path, after: $0) })
    }
    /// The names of a node's children now and after each change, without a buffer.
    public func childrenUpdates(of path: String) -> any AsyncSequence<NodeChildren?, any Error> & Sendable {
        RestUpdates(
            mark: { $0.map { .init(created: $0.stat.czxid, changed: $0.stat.pzxid) } },
            read: { [self] in
                do {
                    return try await children(of: path)
                } catch let error as ZooKeeperError where error.code == .noNode {
                    return nil
                }
            },
            change: { [self] in try await calls.children(of: path, after: $0) })
    }

    // MARK: Checks before anything is sent

    private func check(_ operation: Operation) throws {
        try Request.multi([operation]).validate(maximumSize: .max)
        try check(size: size(of: operation))
    }

    private func check(size: Int) throws {
        if size <= maximumRequestSize { return }
        throw ZooKeeperError(
            code: .requestTooLarge,
            message: "The request is \(size) bytes long and the limit is \(maximumRequestSize): send less at once.",
            path: nil, outcome: .notApplied)
    }
}
