extension ZooKeeperClient {
    /// Creates a node.
    ///
    /// - Parameters:
    ///   - path: the node's path; with a sequential mode the server appends a number to it.
    ///   - data: the node's bytes. `nil` stores null data, which is told apart from no bytes.
    ///   - mode: what kind of node. A session's ephemeral nodes should stay few: their paths must fit into one
    ///     transaction when the session ends (ZOOKEEPER-4306).
    ///   - acl: who may do what with the node; `nil` is ``ZooKeeperConfiguration/defaultACL``.
    ///   - timeout: how long to wait, instead of ``ZooKeeperConfiguration/callDeadline``.
    /// - Returns: the path, with its number if it has one, and the new node's metadata.
    /// - Throws: ``ZooKeeperError``, `.nodeExists` and `.noNode` (of the parent) among them.
    @discardableResult
    public func create(
        _ path: String, data: [UInt8]? = [], mode: CreateMode = .persistent, acl: [ACL]? = nil, timeout: Duration? = nil
    ) async throws -> CreatedNode {
        let request = Request.create(
            path: try full(path, sequential: mode.isSequential), data: data, mode: mode,
            acl: acl ?? configuration.defaultACL)
        return try await localizing {
            guard case .created(let node) = try await perform(request, timeout: timeout) else {
                throw Self.mismatch(request)
            }
            return CreatedNode(path: local(node.path), stat: node.stat)
        }
    }

    /// Deletes a node that has no children, if its data has the given version; `nil` is any.
    ///
    /// - Throws: ``ZooKeeperError``, `.noNode`, `.badVersion` and `.notEmpty` among them.
    public func delete(_ path: String, version: Int32? = nil, timeout: Duration? = nil) async throws {
        _ = try await localizing { try await perform(.delete(path: full(path), version: version), timeout: timeout) }
    }

    /// A node's metadata, or `nil` when the node does not exist.
    ///
    /// Like every read it may be some moments old, at a server that lags behind; ``sync(_:timeout:)`` first.
    public func exists(_ path: String, timeout: Duration? = nil) async throws -> Stat? {
        try await localizing { try await stat(full(path), watch: false, timeout: timeout) }
    }

    /// A node's data and metadata.
    ///
    /// - Throws: ``ZooKeeperError``, `.noNode` among them.
    public func get(_ path: String, timeout: Duration? = nil) async throws -> Node {
        try await localizing { try await node(full(path), watch: false, timeout: timeout) }
    }

    /// Several nodes' data and metadata, in the order of the paths; `nil` for a node that does not exist. The requests are
    /// sent all at once, and the caller is woken once.
    ///
    /// It is no snapshot: each node is read by itself.
    ///
    /// - Throws: ``ZooKeeperError`` of the first read that failed, when all have ended.
    public func get(_ paths: [String], timeout: Duration? = nil) async throws -> [Node?] {
        try await localizing {
            let requests = try paths.map { Request.get(path: try full($0), watch: false) }
            return try zip(requests, try await gather(requests, timeout: timeout, expecting: [.noNode])).map {
                request, result in
                do {
                    guard case .node(let node) = try result.get() else { throw Self.mismatch(request) }
                    return node
                } catch let error as ZooKeeperError where error.code == .noNode {
                    return nil
                }
            }
        }
    }

    /// Sets a node's data, if it has the given version; `nil` is any.
    ///
    /// - Returns: the node's metadata afterwards.
    /// - Throws: ``ZooKeeperError``, `.noNode` and `.badVersion` among them.
    @discardableResult
    public func set(_ path: String, data: [UInt8]?, version: Int32? = nil, timeout: Duration? = nil) async throws
        -> Stat
    {
        let request = Request.set(path: try full(path), data: data, version: version)
        return try await localizing {
            guard case .stat(let stat) = try await perform(request, timeout: timeout) else {
                throw Self.mismatch(request)
            }
            return stat
        }
    }

    /// The names of a node's children, and the node's own metadata. The answer has no limit: a node with a million
    /// children costs the server and this process some hundred milliseconds and tens of megabytes.
    ///
    /// - Throws: ``ZooKeeperError``, `.noNode` among them.
    public func children(of path: String, timeout: Duration? = nil) async throws -> NodeChildren {
        try await localizing { try await nodeChildren(full(path), watch: false, timeout: timeout) }
    }

    /// A node's access control list and metadata.
    public func acl(of path: String, timeout: Duration? = nil) async throws -> NodeACL {
        let request = Request.getACL(path: try full(path))
        return try await localizing {
            guard case .acl(let acl) = try await perform(request, timeout: timeout) else {
                throw Self.mismatch(request)
            }
            return acl
        }
    }

    /// Sets a node's access control list, if it has the given version (``Stat/aversion``); `nil` is any.
    ///
    /// - Throws: ``ZooKeeperError``, `.noNode`, `.badVersion` and `.invalidACL` among them.
    public func setACL(of path: String, to acl: [ACL], version: Int32? = nil, timeout: Duration? = nil) async throws {
        _ = try await localizing {
            try await perform(.setACL(path: full(path), acl: acl, version: version), timeout: timeout)
        }
    }

    /// Returns when the server of this session has seen every write that was applied before the call, so that reads
    /// after it see them too.
    public func sync(_ path: String = "/", timeout: Duration? = nil) async throws {
        _ = try await localizing { try await perform(.sync(path: full(path)), timeout: timeout) }
    }

    /// Changes the members of the ensemble while it runs (ZooKeeper's dynamic reconfiguration), at once for all of them. It
    /// must be allowed by the servers (`reconfigEnabled`), and the session must have the right to change `/zookeeper/config`.
    ///
    /// A new server must run already, with the present members and itself in its configuration, and a majority of the new
    /// members must be in step.
    ///
    /// - Parameters:
    ///   - joining: members as ZooKeeper writes them: `server.4=10.0.0.4:2888:3888:participant;2181`. One whose number is
    ///     known already replaces that.
    ///   - leaving: the numbers of members.
    ///   - timeout: how long to wait, instead of ``ZooKeeperConfiguration/callDeadline``.
    /// - Returns: the new configuration, as it stands in `/zookeeper/config`.
    /// - Throws: ``ZooKeeperError``, `.newConfigNoQuorum`, `.reconfigInProgress` and `.reconfigDisabled` among them.
    @discardableResult
    public func reconfigure(
        joining: [String] = [], leaving: [Int] = [], timeout: Duration? = nil
    ) async throws -> String {
        let request = Request.reconfigure(
            joining: joining.isEmpty ? nil : joining.joined(separator: ","),
            leaving: leaving.isEmpty ? nil : leaving.map { "\($0)" }.joined(separator: ","))
        guard case .node(let node) = try await perform(request, timeout: timeout) else { throw Self.mismatch(request) }
        return String(decoding: node.data ?? [], as: UTF8.self)
    }

    /// Applies all operations in order, at one zxid, or none of them.
    ///
    /// - Returns: a result for each operation, in their order.
    /// - Throws: ``ZooKeeperError``. When an operation failed, ``ZooKeeperError/operationIndex`` says which one and
    ///   ``ZooKeeperError/code`` why; nothing was applied then.
    @discardableResult
    public func multi(_ operations: [Operation], timeout: Duration? = nil) async throws -> [OperationResult] {
        let request = Request.multi(try operations.map(full))
        return try await localizing {
            guard case .multi(let results) = try await perform(request, timeout: timeout) else {
                throw Self.mismatch(request)
            }
            if configuration.chroot.isEmpty { return results }
            return results.map { result in
                if case .created(let path) = result { return .created(path: local(path)) }
                return result
            }
        }
    }

    /// What an operation adds to a multi in bytes, for callers that fill a multi up to ``maximumRequestSize`` less 32
    /// bytes: with the chroot, and with the default ACL.
    public func size(of operation: Operation) -> Int {
        (try? full(operation))?.sizeInMulti ?? operation.sizeInMulti
    }

    /// The operation as it is sent: with the chroot, and with the default ACL filled in.
    private func full(_ operation: Operation) throws -> Operation {
        switch operation {
        case .create(let path, let data, let mode, let acl):
            .create(
                try full(path, sequential: mode.isSequential), data: data, mode: mode,
                acl: acl ?? configuration.defaultACL)
        case .delete(let path, let version): .delete(try full(path), version: version)
        case .set(let path, let data, let version): .set(try full(path), data: data, version: version)
        case .check(let path, let version): .check(try full(path), version: version)
        }
    }

    // MARK: Reads, with a watch or without, by full paths

    func stat(_ path: String, watch: Bool, timeout: Duration?) async throws -> Stat? {
        let request = Request.exists(path: path, watch: watch)
        do {
            guard case .stat(let stat) = try await perform(request, timeout: timeout, expecting: [.noNode]) else {
                throw Self.mismatch(request)
            }
            return stat
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    func node(
        _ path: String, watch: Bool, timeout: Duration?, expecting expected: [ZooKeeperError.Code] = []
    ) async throws -> Node {
        let request = Request.get(path: path, watch: watch)
        guard case .node(let node) = try await perform(request, timeout: timeout, expecting: expected) else {
            throw Self.mismatch(request)
        }
        return node
    }

    func nodeChildren(
        _ path: String, watch: Bool, timeout: Duration?, expecting expected: [ZooKeeperError.Code] = []
    ) async throws -> NodeChildren {
        let request = Request.children(path: path, watch: watch)
        guard case .children(let children) = try await perform(request, timeout: timeout, expecting: expected) else {
            throw Self.mismatch(request)
        }
        return children
    }

    /// The library answered with something else than was asked for; it has then mixed up answers.
    private static func mismatch(_ request: Request) -> ZooKeeperError {
        ZooKeeperError(code: .runtimeInconsistency, path: request.path, sent: !request.isRead)
    }
}
