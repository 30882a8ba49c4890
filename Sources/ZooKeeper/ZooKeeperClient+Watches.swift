extension ZooKeeperClient {
    /// Returns a node's data and metadata, now and after each change. The element is
    /// `nil` while the node does not exist.
    ///
    /// The first call of `next()` throws when the path is invalid.
    public func dataUpdates(of path: String) -> WatchSequence<Node?> {
        WatchSequence(
            connection.watches, path: try? full(path),
            node: watchedNode(path),
            stat: watchedStat(path))
    }

    /// Returns a node's data and metadata, now and after each change, until the node is deleted. The sequence then
    /// yields `nil` and watches no more.
    ///
    /// Use it for nodes whose names are never used again, because ``dataUpdates(of:)`` would keep
    /// watching for each of them to be created.
    public func dataUpdatesUntilDeleted(of path: String) -> WatchSequence<Node?> {
        WatchSequence(
            connection.watches, path: try? full(path),
            node: watchedNode(path),
            stat: { nil })
    }

    /// Returns the names of a node's children, now and after each change. The element is
    /// `nil` while the node does not exist.
    ///
    /// Each element is a complete list, so watch a large or busy node only while you need its list. The first call of
    /// `next()` throws when the path is invalid.
    public func childrenUpdates(of path: String) -> WatchSequence<NodeChildren?> {
        WatchSequence(
            connection.watches, path: try? full(path),
            children: { [self] in
                try await localizing {
                    try await nodeChildren(full(path), watch: true, timeout: nil, expecting: [.noNode])
                }
            },
            stat: watchedStat(path))
    }

    /// Returns a node's metadata, now and each time that the node is created or deleted or its data is set. The element
    /// is `nil` while the node does not exist.
    ///
    /// The first call of `next()` throws when the path is invalid.
    public func statUpdates(of path: String) -> WatchSequence<Stat?> {
        WatchSequence(connection.watches, path: try? full(path), stat: watchedStat(path))
    }

    private func watchedNode(_ path: String) -> @Sendable () async throws -> Node {
        { [self] in
            try await localizing { try await node(full(path), watch: true, timeout: nil, expecting: [.noNode]) }
        }
    }

    private func watchedStat(_ path: String) -> @Sendable () async throws -> Stat? {
        { [self] in try await localizing { try await stat(full(path), watch: true, timeout: nil) } }
    }
}
