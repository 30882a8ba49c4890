package import ZooKeeper

/// ZooKeeper's operations one by one, which make up transactions where a gateway has none.
package protocol SingleOperations: Sendable {
    /// The ID of the session that owns ephemeral nodes. It never changes: in another session, every operation throws
    /// `ZooKeeperError.Code.sessionMoved`.
    var sessionID: Int64 { get }
    /// Creates a node.
    ///
    /// - Returns: the path, including the number of a sequential node.
    func createNode(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> String
    func delete(_ path: String, version: Int32?) async throws
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    func get(_ paths: [String]) async throws -> [Node?]
}
