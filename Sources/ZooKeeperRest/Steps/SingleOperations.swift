package import ZooKeeper

/// Operations of a ZooKeeper one by one, of which transactions are made where there are none.
package protocol SingleOperations: Sendable {
    /// The number of the session, to which ephemeral nodes belong: always the same. In another one, all operations throw
    /// `ZooKeeperError.Code.sessionMoved`.
    var sessionID: Int64 { get }
    /// - Returns: the path, with its number.
    func createNode(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> String
    func delete(_ path: String, version: Int32?) async throws
    func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat
    func get(_ paths: [String]) async throws -> [Node?]
}
