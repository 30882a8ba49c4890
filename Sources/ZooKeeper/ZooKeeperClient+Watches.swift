extension ZooKeeperClient {
    /// A node's data and metadata, now and after each change; `nil` while the node does not exist.
    ///
    /// A bad path is thrown by the first `next()`.
    public func data(of path: String) -> WatchSequence<Node?> {
        sequence(path, kinds: [.data, .existence]) { client, path in
            try await client.watchedOrAbsent(path) { try await client.node(path, watch: true, timeout: nil) }
        } isSame: {
            $0?.stat.czxid == $1?.stat.czxid && $0?.stat.mzxid == $1?.stat.mzxid
        }
    }

    /// The names of a node's children, now and after each change; `nil` while the node does not exist.
    ///
    /// Each element is a whole list: watch a large or busy node only while its list is wanted. A bad path is thrown by
    /// the first `next()`.
    public func childrenUpdates(of path: String) -> WatchSequence<NodeChildren?> {
        sequence(path, kinds: [.children, .existence]) { client, path in
            try await client.watchedOrAbsent(path) { try await client.nodeChildren(path, watch: true, timeout: nil) }
        } isSame: {
            $0?.stat.czxid == $1?.stat.czxid && $0?.stat.pzxid == $1?.stat.pzxid
        }
    }

    /// A node's metadata, now and after each time that it is created, deleted or its data set; `nil` while the node
    /// does not exist.
    ///
    /// A bad path is thrown by the first `next()`.
    public func existence(of path: String) -> WatchSequence<Stat?> {
        sequence(path, kinds: [.existence]) { client, path in
            try await client.stat(path, watch: true, timeout: nil)
        } isSame: {
            $0?.czxid == $1?.czxid && $0?.mzxid == $1?.mzxid
        }
    }

    private func sequence<Element: Sendable>(
        _ path: String, kinds: [WatchKey.Kind],
        read: @escaping @Sendable (ZooKeeperClient, _ fullPath: String) async throws -> Element,
        isSame: @escaping @Sendable (Element, Element) -> Bool
    ) -> WatchSequence<Element> {
        // No event can concern a path that is refused.
        let keys = (try? full(path)).map { full in kinds.map { WatchKey(kind: $0, path: full) } }
        return WatchSequence(
            source: WatchSource(
                table: connection.watches, keys: keys ?? [],
                read: { [self] in try await localizing { try await read(self, try full(path)) } }, isSame: isSame))
    }

    /// Reads with a watch; for a node that is not there, watches for its creation instead.
    private func watchedOrAbsent<T>(_ path: String, _ read: () async throws -> T) async throws -> T? {
        while true {
            do {
                return try await read()
            } catch let error as ZooKeeperError where error.code == .noNode {
                // Created in between: then there is something to read.
                if try await stat(path, watch: true, timeout: nil) == nil { return nil }
            }
        }
    }
}
