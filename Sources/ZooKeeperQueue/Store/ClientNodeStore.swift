import ZooKeeper

/// The C client as a store.
struct ClientNodeStore: NodeStore {
    let client: ZooKeeperClient

    var maximumRequestSize: Int { client.maximumRequestSize }
    func size(of operation: Operation) -> Int { client.size(of: operation) }
    var sessionState: SessionState { client.sessionState }
    var sessionStates: SessionStates { client.sessionStates }

    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try await client.create(path, data: data, mode: mode)
    }
    func createRoot() async throws { try await client.ensurePath("/") }
    func delete(_ path: String, version: Int32?) async throws { try await client.delete(path, version: version) }
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await client.set(path, data: data, version: version)
    }
    func get(_ path: String) async throws -> Node { try await client.get(path) }
    func get(_ paths: [String]) async throws -> [Node?] { try await client.get(paths) }
    func exists(_ path: String) async throws -> Stat? { try await client.exists(path) }
    func children(of path: String) async throws -> NodeChildren { try await client.children(of: path) }
    func acl(of path: String) async throws -> [ACL]? { try await client.acl(of: path).entries }
    func countBytes(below path: String) async throws { try await client.countBytes(below: path) }
    func bytes(below path: String) async throws -> Int? { try await client.bytes(below: path) }
    func sync(_ path: String) async throws { try await client.sync(path) }
    func multi(_ operations: [Operation]) async throws -> [OperationResult] { try await client.multi(operations) }
    func data(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable { client.data(of: path) }
    func dataUntilDeleted(of path: String) -> any AsyncSequence<Node?, any Error> & Sendable {
        client.dataUntilDeleted(of: path)
    }
    func childrenUpdates(of path: String) -> any AsyncSequence<NodeChildren?, any Error> & Sendable {
        client.childrenUpdates(of: path)
    }
}
