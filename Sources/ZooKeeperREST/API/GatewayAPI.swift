import GatewayProtocol
import ZooKeeper

/// The calls that the store makes to a gateway, with or without extensions.
protocol GatewayAPI: Sendable {
    func create(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> CreatedNode
    func delete(_ path: String, version: Int32?) async throws
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    func get(_ paths: [String]) async throws -> [Node?]
    func exists(_ path: String) async throws -> Stat?
    func children(of path: String) async throws -> NodeChildren
    func acl(of path: String) async throws -> [ACL]?
    func trackUsage(of path: String) async throws
    func byteUsage(of path: String) async throws -> Int?
    func sync(_ path: String) async throws
    func multi(_ operations: [ZooKeeperOperation]) async throws -> [OperationResult]
    /// Returns the node when its revision differs from `revision`, or after a while.
    func node(_ path: String, after revision: ExtensionCall.Revision?) async throws -> Node?
    /// Does the same for the names of the node's children.
    func children(of path: String, after revision: ExtensionCall.Revision?) async throws -> NodeChildren?
}
