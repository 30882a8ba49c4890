import ZooKeeper
import ZooKeeperServer

/// Checks whether all servers of an ensemble have the same tree.
///
/// ZooKeeper promises it, and the verdict of a run depends on it: the queue is not to blame for a node that a single
/// server has lost or kept.
struct ServerAgreement {
    private struct View: Equatable, CustomStringConvertible {
        let created, changed: Int64
        let version: Int32
        let data: [UInt8]?

        var description: String {
            "(created 0x\(String(created, radix: 16)), version \(version) of 0x\(String(changed, radix: 16)), "
                + "\(data?.count ?? 0) bytes)"
        }
    }

    /// Compares the trees of the servers below the queue.
    ///
    /// Call it when no client writes any more. A difference that a second pass does not find was the end of a session.
    ///
    /// - Returns: each server's view of every node in which the servers differ.
    static func differences(_ client: ZooKeeperClient, at cluster: TestCluster) async throws -> [String] {
        // Without dynamic reconfiguration, servers do not know each other's client addresses.
        var servers = try await addresses(client)
        if servers.isEmpty { servers = cluster.ensemble.connectString.split(separator: ",").map(String.init) }
        let found = try await differences(servers)
        return found.isEmpty ? [] : try await differences(servers).filter(found.contains)
    }

    private static func differences(_ servers: [String]) async throws -> [String] {
        var trees: [(server: String, nodes: [String: View])] = []
        for server in servers {
            let configuration = try ZooKeeperConfiguration(servers: server, followsReconfiguration: false)
            let nodes = try await ZooKeeperClient.withClient(configuration: configuration, logger: TestRun.silent) {
                try await tree($0)
            }
            trees.append((server, nodes))
        }
        let paths = trees.reduce(into: Set<String>()) { $0.formUnion($1.nodes.keys) }
        return paths.sorted().compactMap { path in
            let views = trees.map { $0.nodes[path] }
            if views.allSatisfy({ $0 == views[0] }) { return nil }
            let states = zip(trees, views).map { tree, view in
                "\(tree.server) \(view?.description ?? "none")"
            }
            return "\(path): \(states.joined(separator: ", "))"
        }
    }

    /// Returns each server's client address from the ensemble's configuration.
    private static func addresses(_ client: ZooKeeperClient) async throws -> [String] {
        let data = try await client.get("/zookeeper/config").data ?? []
        return String(decoding: data, as: UTF8.self).split(separator: "\n").compactMap { line in
            guard line.hasPrefix("server."), let semicolon = line.lastIndex(of: ";") else { return nil }
            let port = line[line.index(after: semicolon)...].split(separator: ":").last ?? ""
            return "127.0.0.1:\(port)"
        }
    }

    private static func tree(_ client: ZooKeeperClient) async throws -> [String: View] {
        try await client.sync("/")
        var nodes: [String: View] = [:]
        var paths = ["/queue"]
        while let path = paths.popLast() {
            guard let node = try await client.get([path])[0] else { continue }
            let stat = node.stat
            nodes[path] = View(created: stat.czxid, changed: stat.mzxid, version: stat.version, data: node.data)
            if stat.ephemeralOwner == 0 {
                paths += try await client.children(of: path).names.map { "\(path)/\($0)" }
            }
        }
        return nodes
    }
}
