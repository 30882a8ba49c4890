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

    /// Returns the changes of a node and of all nodes below it, or, with `recursively: false`, of the node and its list
    /// of children.
    ///
    /// The elements say which node was created or deleted, or has other data, not what it holds now. Changes of access
    /// control lists are not reported. The node need not exist. Only a transport with
    /// persistent watches supports it, such as the one of the module `ZooKeeperNIO`, and servers since 3.6.
    ///
    /// - Parameters:
    ///   - path: The path of the node.
    ///   - recursively: Whether to watch all nodes below it too. Default: true.
    public func changes(below path: String, recursively: Bool = true) -> TreeChanges {
        let key = try? WatchKey(kind: recursively ? .recursive : .persistent, path: full(path))
        return TreeChanges(
            source: TreeChanges.Source(
                table: connection.watches, key: key,
                arm: { [self] in
                    let request = Request.addWatch(path: try full(path), isRecursive: recursively)
                    _ = try await localizing { try await perform(request, timeout: nil) }
                },
                cleanUp: { [connection] in connection.onQueue { $0.removeAbandonedWatches() } },
                local: { [self] in local($0) }))
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
