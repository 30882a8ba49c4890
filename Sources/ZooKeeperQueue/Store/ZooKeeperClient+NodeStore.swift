public import ZooKeeper

extension ZooKeeperClient: NodeStore {
    @discardableResult
    public func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try await create(path, data: data, mode: mode, acl: nil, timeout: nil)
    }
    public func delete(_ path: String, version: Int32?) async throws {
        try await delete(path, version: version, timeout: nil)
    }
    @discardableResult
    public func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await set(path, data: data, version: version, timeout: nil)
    }
    public func get(_ path: String) async throws -> Node { try await get(path, timeout: nil) }
    public func exists(_ path: String) async throws -> Stat? { try await exists(path, timeout: nil) }
    public func children(of path: String) async throws -> NodeChildren { try await children(of: path, timeout: nil) }
    public func sync(_ path: String) async throws { try await sync(path, timeout: nil) }
    @discardableResult
    public func multi(_ operations: [Operation]) async throws -> [OperationResult] {
        try await multi(operations, timeout: nil)
    }
    public func data(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable {
        let sequence: WatchSequence<Node?> = data(of: path)
        return sequence
    }
    public func childrenUpdates(of path: String) -> any AsyncSequence<NodeChildren?, any Error> & Sendable {
        let sequence: WatchSequence<NodeChildren?> = childrenUpdates(of: path)
        return sequence
    }
}
