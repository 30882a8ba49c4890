/// How much stands below a node, as the servers themselves count it for ZooKeeper's quotas. It makes each write
/// a little dearer, and costs a reader one read at any depth.
extension ZooKeeperClient {
    private static let quotas = "/zookeeper/quota"

    /// Asks the servers to count the bytes of the node and of all below it, from now on and for good. No limit is set: one that
    /// servers enforce would refuse moves too.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) where an ancestor is counted already: the servers
    ///   know one count for each path, so that the ancestor's would become wrong.
    package func countBytes(below path: String) async throws {
        let path = try full(path)
        var ancestor = path
        while let slash = ancestor.lastIndex(of: "/"), slash > ancestor.startIndex {
            ancestor = String(ancestor[..<slash])
            if try await stat(Self.quotas + ancestor + "/zookeeper_limits", watch: false, timeout: nil) != nil {
                throw ZooKeeperError(
                    code: .invalidArgument,
                    message:
                        "The servers count what stands below \(ancestor) already (a quota), and can count \(path) only "
                        + "without it: remove that quota first.",
                    path: local(path), outcome: .notApplied)
            }
        }
        var node = Self.quotas
        for name in path.split(separator: "/") {
            node += "/" + name
            try await createUnlessThere(node, "")
        }
        try await createUnlessThere(node + "/zookeeper_limits", "count=-1,bytes=-1")
        // The servers fill it in when it is created.
        try await createUnlessThere(node + "/zookeeper_stats", "count=0,bytes=0")
    }

    private func createUnlessThere(_ path: String, _ text: String) async throws {
        do {
            _ = try await perform(
                .create(path: path, data: Array(text.utf8), mode: .persistent, acl: .open), timeout: nil)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            // Counted already.
        }
    }

    /// The bytes of the node and of all below it; `nil` unless they are counted.
    package func bytes(below path: String) async throws -> Int? {
        let stats = Self.quotas + (try full(path)) + "/zookeeper_stats"
        let request = Request.get(path: stats, watch: false)
        guard case .success(.node(let node))? = try await gather([request], timeout: nil).first else { return nil }
        // count=4,bytes=13, and in later releases perhaps more.
        let fields = String(decoding: node.data ?? [], as: UTF8.self).split(separator: ",")
        return fields.first { $0.hasPrefix("bytes=") }.flatMap { Int($0.dropFirst(6)) }.map { max(0, $0) }
    }
}
