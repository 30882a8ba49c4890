// The sequences that a ZooKeeper offers of its nodes, made from its reads with a watch. A path that is refused has no
// keys, since no event can concern it; its refusal is thrown by the first read.

extension WatchSequence where State == Node? {
    /// A node's data, `nil` while there is no node.
    package init(
        _ table: WatchTable, path: String?, node: @escaping @Sendable () async throws -> Node,
        stat: @escaping @Sendable () async throws -> Stat?
    ) {
        self.init(
            source: WatchSource(
                table: table, keys: WatchKey.keys([.data, .existence], path),
                read: { try await watchedOrAbsent(node, stat) },
                isSame: { $0?.stat.czxid == $1?.stat.czxid && $0?.stat.mzxid == $1?.stat.mzxid }))
    }
}

extension WatchSequence where State == NodeChildren? {
    /// The names of a node's children, `nil` while there is no node.
    package init(
        _ table: WatchTable, path: String?, children: @escaping @Sendable () async throws -> NodeChildren,
        stat: @escaping @Sendable () async throws -> Stat?
    ) {
        self.init(
            source: WatchSource(
                table: table, keys: WatchKey.keys([.children, .existence], path),
                read: { try await watchedOrAbsent(children, stat) },
                isSame: { $0?.stat.czxid == $1?.stat.czxid && $0?.stat.pzxid == $1?.stat.pzxid }))
    }
}

extension WatchSequence where State == Stat? {
    /// A node's metadata, `nil` while there is no node.
    init(_ table: WatchTable, path: String?, stat: @escaping @Sendable () async throws -> Stat?) {
        self.init(
            source: WatchSource(
                table: table, keys: WatchKey.keys([.existence], path), read: stat,
                isSame: { $0?.czxid == $1?.czxid && $0?.mzxid == $1?.mzxid }))
    }
}

/// Reads with a watch; for a node that is not there, watches for its creation instead.
private func watchedOrAbsent<T>(
    _ read: () async throws -> T, _ stat: () async throws -> Stat?
) async throws -> T? {
    while true {
        do {
            return try await read()
        } catch let error as ZooKeeperError where error.code == .noNode {
            // Created in between: then there is something to read.
            if try await stat() == nil { return nil }
        }
    }
}

extension WatchKey {
    fileprivate static func keys(_ kinds: [Kind], _ path: String?) -> [WatchKey] {
        path.map { path in kinds.map { WatchKey(kind: $0, path: path) } } ?? []
    }
}
