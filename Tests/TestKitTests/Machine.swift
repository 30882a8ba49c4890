@testable import ZooKeeper
import ZooKeeperTestKit

/// A session of one of the two ZooKeepers that are compared.
protocol Machine: Sendable {
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode
    func delete(_ path: String, version: Int32?) async throws
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    func sync(_ path: String) async throws
    func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult]
    func node(_ path: String, watch: Bool) async throws -> Node
    func stat(_ path: String, watch: Bool) async throws -> Stat?
    func children(_ path: String, watch: Bool) async throws -> NodeChildren
    func acl(_ path: String) async throws -> [ACL]
    func setACL(_ path: String, _ acl: [ACL], version: Int32?) async throws
    var sessionID: Int64 { get }
    var table: WatchTable { get }
    /// Returns the path under which the watch table knows the node.
    func full(_ path: String) -> String
    func end() async
}

struct RealMachine: Machine {
    let client: ZooKeeperClient

    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try await client.create(path, data: data, mode: mode)
    }
    func delete(_ path: String, version: Int32?) async throws { try await client.delete(path, version: version) }
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await client.set(path, data: data, version: version)
    }
    func sync(_ path: String) async throws { try await client.sync(path) }
    func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult] {
        try await client.multi(operations)
    }
    func node(_ path: String, watch: Bool) async throws -> Node {
        try await client.node(full(path), watch: watch, timeout: nil)
    }
    func stat(_ path: String, watch: Bool) async throws -> Stat? {
        try await client.stat(full(path), watch: watch, timeout: nil)
    }
    func children(_ path: String, watch: Bool) async throws -> NodeChildren {
        try await client.nodeChildren(full(path), watch: watch, timeout: nil)
    }
    func acl(_ path: String) async throws -> [ACL] { try await client.acl(of: path).entries }
    func setACL(_ path: String, _ acl: [ACL], version: Int32?) async throws {
        try await client.setACL(of: path, to: acl, version: version)
    }
    var sessionID: Int64 { client.sessionState.sessionID }
    var table: WatchTable { client.connection.watches }
    func full(_ path: String) -> String { client.configuration.chroot + path }
    func end() async { await client.close() }
}

struct InMemoryMachine: Machine {
    let session: InMemorySession

    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode {
        try await session.create(path, data: data, mode: mode)
    }
    func delete(_ path: String, version: Int32?) async throws { try await session.delete(path, version: version) }
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
        try await session.set(path, data: data, version: version)
    }
    func sync(_ path: String) async throws { try await session.sync(path) }
    func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult] {
        try await session.multi(operations)
    }
    func node(_ path: String, watch: Bool) async throws -> Node { try await session.node(path, watch: watch) }
    func stat(_ path: String, watch: Bool) async throws -> Stat? { try await session.stat(path, watch: watch) }
    func children(_ path: String, watch: Bool) async throws -> NodeChildren {
        try await session.children(of: path, watch: watch)
    }
    func acl(_ path: String) async throws -> [ACL] { try await session.aclEntries(of: path) ?? [] }
    func setACL(_ path: String, _ acl: [ACL], version: Int32?) async throws {
        try await session.setACL(of: path, to: acl, version: version)
    }
    var sessionID: Int64 { session.sessionState.sessionID }
    var table: WatchTable { session.watches }
    func full(_ path: String) -> String { path }
    func end() async { session.close() }
}
