import TestSupport
import ZooKeeper

/// Differences between the releases of the server.
enum ServerKind {
    /// Returns whether `exists` requires permission to read the node, as it does from 3.9 on.
    static func existsNeedsRead() async throws -> Bool {
        try await ZooKeeperClient.withClient(configuration: .init(servers: try await TestServer.address())) { client in
            try await client.create("/unreadable", acl: [.world(ACL.Permissions.all.subtracting(.read))])
            do {
                _ = try await client.exists("/unreadable")
                return false
            } catch let error as ZooKeeperError where error.code == .noAuth {
                return true
            }
        }
    }
}
