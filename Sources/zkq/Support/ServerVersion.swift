import ZooKeeperServer

/// The version of a ZooKeeper server, and its known defects.
struct ServerVersion: Comparable, CustomStringConvertible {
    let major, minor, patch: Int

    init(_ major: Int, _ minor: Int, _ patch: Int) { (self.major, self.minor, self.patch) = (major, minor, patch) }

    /// Parses the response to `srvr`, which begins with `Zookeeper version: 3.8.0-5a02a05…, built on …`.
    ///
    /// - Returns: `nil` for every other response, such as that of a server that does not allow the command.
    init?(response: String) {
        let label = "zookeeper version: "
        guard response.prefix(label.count).lowercased() == label else { return nil }
        let numbers = response.dropFirst(label.count).prefix { $0.isNumber || $0 == "." }
            .split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 3, let major = numbers[0], let minor = numbers[1], let patch = numbers[2] else {
            return nil
        }
        self.init(major, minor, patch)
    }

    var description: String { "\(major).\(minor).\(patch)" }

    static func < (a: Self, b: Self) -> Bool { (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch) }

    /// The defects with which an ensemble loses acknowledged writes when its leader changes: their numbers in
    /// ZooKeeper's issue tracker, and the affected versions. Only one of them is fixed in the 3.8 branch.
    private static let writeLosses: [(issue: Int, affected: [Range<ServerVersion>])] = {
        let first = ServerVersion(0, 0, 0)
        return [
            (4394, [first..<ServerVersion(3, 9, 3)]),
            (4643, [first..<ServerVersion(3, 9, 3)]),
            (4646, [first..<ServerVersion(3, 9, 3)]),
            (4712, [first..<ServerVersion(3, 9, 3)]),
            (4785, [first..<ServerVersion(3, 8, 5), ServerVersion(3, 9, 0)..<ServerVersion(3, 9, 2)]),
            (4925, [ServerVersion(3, 9, 3)..<ServerVersion(3, 9, 4)]),
        ]
    }()

    /// The issue numbers of the defects in this version.
    var defects: [Int] {
        Self.writeLosses.filter { $0.affected.contains { $0.contains(self) } }.map(\.issue)
    }

    /// A warning that names the defects of this version; `nil` when none is known.
    var warning: String? {
        if defects.isEmpty { return nil }
        return "ZooKeeper \(self): an ensemble of this version can lose acknowledged writes when its leader changes ("
            + defects.map { "ZOOKEEPER-\($0)" }.joined(separator: ", ") + "). Upgrade to 3.9.4 or later."
    }

    /// Asks each server for its version, and returns the versions in the order of the servers. Omits a server that does
    /// not respond within two seconds, or does not report its version.
    ///
    /// - Parameter servers: the servers, each as `host:port`, with brackets around an IPv6 address.
    static func reported(by servers: [String]) async -> [(server: String, version: ServerVersion)] {
        let versions = await withTaskGroup(of: (String, ServerVersion?).self) { group in
            for server in servers {
                group.addTask {
                    guard let colon = server.lastIndex(of: ":"), let port = Int(server[server.index(after: colon)...])
                    else { return (server, nil) }
                    let host = String(server[..<colon].filter { !"[]".contains($0) })
                    let response = await FourLetterWord.ask("srvr", host: host, port: port, seconds: 2)
                    return (server, response.flatMap { ServerVersion(response: $0) })
                }
            }
            return await group.reduce(into: [String: ServerVersion]()) { $0[$1.0] = $1.1 }
        }
        return servers.compactMap { server in versions[server].map { (server, $0) } }
    }
}
