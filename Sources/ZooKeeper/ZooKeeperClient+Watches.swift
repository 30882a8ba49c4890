extension ZooKeeperClient {
    /// A node's data and metadata, now and after each change; `nil` while the node does not exist.
    ///
    /// A bad path is thrown by the first `next()`.
    public func data(of path: String) -> WatchSequence<Node?> {
        WatchSequence(
            connection.watches, path: try? full(path),
            node: watchedNode(path),
            stat: watchedStat(path))
    }

    /// A node's data and metadata, now and after each change, until it is deleted; then `nil`, and nothing more comes. For
    /// nodes whose names never come again: ``data(of:)`` would go on to watch for each of them to be created.
    public func dataUntilDeleted(of path: String) -> WatchSequence<Node?> {
        WatchSequence(
            connection.watches, path: try? full(path),
            node: watchedNode(path),
            stat: { nil })
    }

    /// The names of a node's children, now and after each change; `nil` while the node does not exist.
    ///
    /// Each element is a whole list: watch a large or busy node only while its list is wanted. A bad path is thrown by
    /// the first `next()`.
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

    /// A node's metadata, now and after each time that it is created, deleted or its data set; `nil` while the node
    /// does not exist.
    ///
    /// A bad path is thrown by the first `next()`.
    public func existence(of path: String) -> WatchSequence<Stat?> {
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
