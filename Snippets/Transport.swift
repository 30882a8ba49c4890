// The code of the documentation of the SwiftNIO transport.
import ZooKeeper
import ZooKeeperNIO

func connect() throws -> ZooKeeperClient {
    // snippet.tls
    let zookeeper = try ZooKeeperClient(
        configuration: .init(
            servers: "zk1.example:2281,zk2.example:2281",
            transport: .nio(tls: .clientCertificate(chain: "client.pem", key: "client.key", trust: "ca.pem"))))
    // snippet.end
    return zookeeper
}

func forgetChanges(_ zookeeper: ZooKeeperClient, _ cache: inout [String: [UInt8]]) async throws {
    // snippet.changes
    for try await change in zookeeper.changes(below: "/config") {
        switch change {
        case .restarted:
            cache.removeAll()
        case .created(let path), .dataChanged(let path), .deleted(let path):
            cache[path] = nil
        case .childrenChanged:
            break  // Only with `recursively: false`.
        }
    }
    // snippet.end
}
