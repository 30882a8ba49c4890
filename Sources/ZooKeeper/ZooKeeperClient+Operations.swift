extension ZooKeeperClient {
    /// Creates a node.
    ///
    /// - Parameters:
    ///   - path: The node's path. With a sequential mode, the server appends a number to it.
    ///   - data: The node's bytes. `nil` stores null data, which ZooKeeper distinguishes from empty data.
    ///   - mode: The kind of node. Keep the ephemeral nodes of a session few, because their paths must fit into one
    ///     transaction when the session ends (ZOOKEEPER-4306).
    ///   - acl: The node's access control list. `nil` means ``ZooKeeperConfiguration/defaultACL``.
    ///   - timeout: How long to wait, instead of ``ZooKeeperConfiguration/requestTimeout``.
    /// - Returns: The node's path, with its number if it has one, and its metadata.
    /// - Throws: ``ZooKeeperError``, for example `.nodeExists`, or `.noNode` when the parent does not exist.
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

    /// Deletes a node that has no children, if its data has the given version. `nil` matches any version.
    ///
    /// - Throws: ``ZooKeeperError``, for example `.noNode`, `.badVersion` or `.notEmpty`.
    public func delete(_ path: String, version: Int32? = nil, timeout: Duration? = nil) async throws {
        _ = try await localizing { try await perform(.delete(path: full(path), version: version), timeout: timeout) }
    }

    /// Returns a node's metadata, or `nil` when the node does not exist.
    ///
    /// Like every read, it may return stale metadata when the server lags behind. Call
    /// ``sync(_:timeout:)`` first to avoid that.
    public func exists(_ path: String, timeout: Duration? = nil) async throws -> Stat? {
        try await localizing { try await stat(full(path), watch: false, timeout: timeout) }
    }

    /// Returns a node's data and metadata.
    ///
    /// - Throws: ``ZooKeeperError``, for example `.noNode`.
    public func get(_ path: String, timeout: Duration? = nil) async throws -> Node {
        try await localizing { try await node(full(path), watch: false, timeout: timeout) }
    }

    /// Returns the data and metadata of several nodes, in the order of the paths. The element of a
    /// node that does not exist is `nil`.
    ///
    /// Sends all requests at once and resumes the caller once: a request for each node, or, with a transport that can
    /// read several nodes, one for 64 nodes. The result is not an atomic snapshot, because the server reads each node
    /// separately.
    ///
    /// - Throws: The ``ZooKeeperError`` of the first path whose read failed, after all reads have ended.
    public func get(_ paths: [String], timeout: Duration? = nil) async throws -> [Node?] {
        try await localizing {
            if configuration.transport.readsSeveralNodes, paths.count > 1 {
                return try await readSeveral(paths, timeout: timeout)
            }
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

    /// How many nodes one request reads. A node may have a mebibyte, and the response has them all.
    private static let nodesInMultiRead = 64

    private func readSeveral(_ paths: [String], timeout: Duration?) async throws -> [Node?] {
        var rest = try paths.map { try full($0) }[...]
        var groups: [[String]] = []
        let empty = Request.multiRead([]).encodedSize
        while !rest.isEmpty {
            var size = empty
            let group = rest.prefix(Self.nodesInMultiRead).prefix { path in
                size += Request.multiRead([path]).encodedSize - empty
                return size <= configuration.maximumRequestSize
            }
            // A path that is too long for a request is refused by itself.
            groups.append(group.isEmpty ? [rest[rest.startIndex]] : Array(group))
            rest = rest.dropFirst(max(1, group.count))
        }
        let requests = groups.map { Request.multiRead($0) }
        let results = try await gather(requests, timeout: timeout, expecting: [])
        return try zip(groups, results).flatMap { group, result -> [Node?] in
            guard case .nodes(let nodes) = try result.get() else { throw Self.mismatch(.multiRead(group)) }
            return try zip(group, nodes).map { path, result -> Node? in
                switch result {
                case .node(let node): return node
                case .failed(.noNode): return nil
                case .failed(let code): throw ZooKeeperError(code: code, path: path, sent: true)
                }
            }
        }
    }

    /// Sets a node's data, if the data has the given version. `nil` matches any version.
    ///
    /// - Returns: The node's metadata after the change.
    /// - Throws: ``ZooKeeperError``, for example `.noNode` or `.badVersion`.
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

    /// Returns the names of a node's children, and the node's metadata.
    ///
    /// The response has no size limit. A node with a million children costs the server and this process some hundred
    /// milliseconds and tens of megabytes.
    ///
    /// - Throws: ``ZooKeeperError``, for example `.noNode`.
    public func children(of path: String, timeout: Duration? = nil) async throws -> NodeChildren {
        try await localizing { try await nodeChildren(full(path), watch: false, timeout: timeout) }
    }

    /// Returns a node's access control list and metadata.
    public func acl(of path: String, timeout: Duration? = nil) async throws -> NodeACL {
        let request = Request.getACL(path: try full(path))
        return try await localizing {
            guard case .acl(let acl) = try await perform(request, timeout: timeout) else {
                throw Self.mismatch(request)
            }
            return acl
        }
    }

    /// Sets a node's access control list, if the list has the given version
    /// (``Stat/aversion``). `nil` matches any version.
    ///
    /// - Throws: ``ZooKeeperError``, for example `.noNode`, `.badVersion` or `.invalidACL`.
    public func setACL(of path: String, to acl: [ACL], version: Int32? = nil, timeout: Duration? = nil) async throws {
        _ = try await localizing {
            try await perform(.setACL(path: full(path), acl: acl, version: version), timeout: timeout)
        }
    }

    /// Returns when the session's server has applied every write that was committed before the
    /// call. Later reads see those writes.
    public func sync(_ path: String = "/", timeout: Duration? = nil) async throws {
        _ = try await localizing { try await perform(.sync(path: full(path)), timeout: timeout) }
    }

    /// Returns the identities under which the server has authenticated this session.
    ///
    /// Only a transport that has the request supports it, such as the one of the module `ZooKeeperNIO`, and servers
    /// since 3.7.
    ///
    /// - Throws: ``ZooKeeperError``: ``ZooKeeperError/Code/unimplemented`` with the C client and with older servers.
    public func identities(timeout: Duration? = nil) async throws -> [ClientIdentity] {
        guard case .identities(let identities) = try await perform(.whoAmI, timeout: timeout) else {
            throw Self.mismatch(.whoAmI)
        }
        return identities
    }

    /// Changes the servers of the ensemble while it runs (ZooKeeper's dynamic reconfiguration), in one atomic change.
    ///
    /// The servers must allow it (`reconfigEnabled`), and the session must be permitted to change
    /// `/zookeeper/config`. A new server must already run, with the current servers and itself in its configuration.
    /// A majority of the new ensemble must be in sync.
    ///
    /// - Parameters:
    ///   - joining: Servers in ZooKeeper's notation, such as `server.4=10.0.0.4:2888:3888:participant;2181`. A server
    ///     whose number is already in use replaces that server.
    ///   - leaving: The numbers of the servers to remove.
    ///   - timeout: How long to wait, instead of ``ZooKeeperConfiguration/requestTimeout``.
    /// - Returns: The new configuration, as in `/zookeeper/config`.
    /// - Throws: ``ZooKeeperError``, for example `.newConfigNoQuorum`, `.reconfigInProgress` or `.reconfigDisabled`.
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
    /// - Returns: A result for each operation, in the same order.
    /// - Throws: ``ZooKeeperError``. When an operation failed, ``ZooKeeperError/operationIndex`` is its index and
    ///   ``ZooKeeperError/code`` is the reason; the server has applied none of the operations.
    @discardableResult
    public func multi(_ operations: [ZooKeeperOperation], timeout: Duration? = nil) async throws -> [OperationResult] {
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

    /// Returns how many bytes an operation adds to a multi, with the chroot and the default access control list.
    ///
    /// A multi may hold ``maximumRequestSize`` bytes, of which its header and trailer take up to 32.
    public func size(of operation: ZooKeeperOperation) -> Int {
        (try? full(operation))?.sizeInMulti ?? operation.sizeInMulti
    }

    /// Returns the operation as it is sent, with the chroot and the default access control list.
    private func full(_ operation: ZooKeeperOperation) throws -> ZooKeeperOperation {
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

    /// Returns the error for a response of the wrong kind, which means that responses were mixed up.
    private static func mismatch(_ request: Request) -> ZooKeeperError {
        ZooKeeperError(code: .runtimeInconsistency, path: request.path, sent: !request.isRead)
    }
}
