import ZooKeeper

/// Whether all members of an ensemble have the same tree. ZooKeeper promises it, and the judgement of a run rests on it: what one
/// server has lost, or has kept alone, is no fault of the queue's.
struct ServerAgreement {
    private struct Version: Equatable {
        let created, changed: Int64
    }

    /// Where the members differ, once each has seen every write; empty when they agree. To be asked when nobody writes any more.
    static func differences(_ client: ZooKeeperClient) async throws -> [String] {
        let servers = try await addresses(client)
        var trees: [(server: String, nodes: [String: Version])] = []
        for server in servers {
            let configuration = try ZooKeeperConfiguration(servers: server, followsMembers: false)
            let nodes = try await ZooKeeperClient.withClient(configuration: configuration, logger: Campaign.silent) {
                try await tree($0)
            }
            trees.append((server, nodes))
        }
        let paths = trees.reduce(into: Set<String>()) { $0.formUnion($1.nodes.keys) }
        return paths.sorted().compactMap { path in
            let versions = trees.map { $0.nodes[path] }
            if versions.allSatisfy({ $0 == versions[0] }) { return nil }
            let states = zip(trees, versions).map { tree, version in
                "\(tree.server) \(version.map { "\($0.created) \($0.changed)" } ?? "none")"
            }
            return "\(path): \(states.joined(separator: ", "))"
        }
    }

    /// Where each member serves clients, as they have agreed on it.
    private static func addresses(_ client: ZooKeeperClient) async throws -> [String] {
        let data = try await client.get("/zookeeper/config").data ?? []
        return String(decoding: data, as: UTF8.self).split(separator: "\n").compactMap { line in
            guard line.hasPrefix("server."), let semicolon = line.lastIndex(of: ";") else { return nil }
            let port = line[line.index(after: semicolon)...].split(separator: ":").last ?? ""
            return "127.0.0.1:\(port)"
        }
    }

    private static func tree(_ client: ZooKeeperClient) async throws -> [String: Version] {
        try await client.sync("/")
        var nodes: [String: Version] = [:]
        var paths = ["/queue"]
        while let path = paths.popLast() {
            guard let stat = try await client.exists(path) else { continue }
            nodes[path] = Version(created: stat.czxid, changed: stat.mzxid)
            if stat.ephemeralOwner == 0 {
                paths += try await client.children(of: path).names.map { "\(path)/\($0)" }
            }
        }
        return nodes
    }
}
