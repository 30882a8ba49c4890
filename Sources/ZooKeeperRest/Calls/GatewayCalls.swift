import GatewayExtensions
import ZooKeeper

/// What the store asks of a gateway: with its extensions, or without.
protocol GatewayCalls: Sendable {
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode
    func delete(_ path: String, version: Int32?) async throws
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    func get(_ paths: [String]) async throws -> [Node?]
    func exists(_ path: String) async throws -> Stat?
    func children(of path: String) async throws -> NodeChildren
    func acl(of path: String) async throws -> [ACL]?
    func countBytes(below path: String) async throws
    func bytes(below path: String) async throws -> Int?
    func sync(_ path: String) async throws
    func multi(_ operations: [Operation]) async throws -> [OperationResult]
    /// The node when it is another than the one of the mark, or after a while.
    func node(_ path: String, after mark: ExtensionCall.Mark?) async throws -> Node?
    /// The same for the names of its children.
    func children(of path: String, after mark: ExtensionCall.Mark?) async throws -> NodeChildren?
}
