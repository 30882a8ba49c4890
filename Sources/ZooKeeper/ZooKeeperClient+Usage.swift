/// The size of a subtree, which the servers count for ZooKeeper's quotas. Counting makes each write slightly more
/// expensive, and lets a client read the size of a subtree of any depth with one request.
extension ZooKeeperClient {
    private static let quotas = "/zookeeper/quota"

    /// Makes the servers count the bytes of the node and all its descendants, permanently.
    ///
    /// Sets no limit, because a limit that servers enforce would also refuse to move nodes within the subtree.
    ///
    /// - Throws: ``ZooKeeperError``, for example ``ZooKeeperError/Code/invalidArgument`` when the servers
    ///   already count at an ancestor or a descendant. They keep one count for each path, and the
    ///   ancestor's count would become wrong.
    public func trackUsage(of path: String) async throws {
        let path = try full(path)
        var ancestor = path
        while let parent = NodePath.parent(of: ancestor), parent != "/" {
            ancestor = parent
            if try await stat(Self.quotas + ancestor + "/zookeeper_limits", watch: false, timeout: nil) != nil {
                throw alreadyTracked(path, by: ancestor)
            }
        }
        if let other = try await trackedChild(of: path) { throw alreadyTracked(path, by: "\(path)/\(other)") }
        var node = Self.quotas
        for name in path.utf8.split(separator: UInt8(ascii: "/")) {
            node += "/" + String(Substring(name))
            try await createIfMissing([.create(node, data: [])])
        }
        // The servers fill in the second node when it is created.
        try await createIfMissing([
            .create(node + "/zookeeper_limits", data: Array("count=-1,bytes=-1".utf8)),
            .create(node + "/zookeeper_stats", data: Array("count=0,bytes=0".utf8)),
        ])
    }

    /// Returns the name of a child at or below which the servers already count.
    private func trackedChild(of path: String) async throws -> String? {
        do {
            let names = try await nodeChildren(
                Self.quotas + path, watch: false, timeout: nil, expecting: [.noNode]
            ).names
            return names.first { !$0.utf8.starts(with: "zookeeper_".utf8) }
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    private func alreadyTracked(_ path: String, by other: String) -> ZooKeeperError {
        ZooKeeperError(
            code: .invalidArgument,
            message: "The bytes below \(path) cannot be counted: a quota at \(other) already counts an overlapping "
                + "subtree. Remove that quota first.",
            path: local(path), outcome: .notApplied)
    }

    private func createIfMissing(_ operations: [ZooKeeperOperation]) async throws {
        do {
            _ = try await perform(.multi(operations), timeout: nil, expecting: [.nodeExists])
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // The servers already count here.
        }
    }

    /// Returns the bytes of the node and all its descendants, or `nil` when the servers do not count them.
    ///
    /// - Throws: ``ZooKeeperError``, for example ``ZooKeeperError/Code/noAuth``.
    public func byteUsage(of path: String) async throws -> Int? {
        let stats = Self.quotas + (try full(path)) + "/zookeeper_stats"
        let request = Request.get(path: stats, watch: false)
        let node: Node
        do {
            guard case .node(let found) = try await perform(request, timeout: nil, expecting: [.noNode]) else {
                return nil
            }
            node = found
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
        // The format is `count=4,bytes=13`. Later releases may append fields.
        let fields = String(decoding: node.data ?? [], as: UTF8.self).split(separator: ",")
        return fields.first { $0.hasPrefix("bytes=") }.flatMap { Int($0.dropFirst(6)) }.map { max(0, $0) }
    }
}
