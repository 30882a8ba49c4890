// The watch sequences of a store, which are built from its reads with a watch. A path of `nil` was refused and has no
// keys, because no event can concern it. The first read throws the reason.

extension WatchSequence where State == Node? {
    /// Creates a sequence of a node's data. The element is `nil` while the node does not exist.
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
    /// Creates a sequence of the names of a node's children. The element is `nil` while the node does not exist.
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
    /// Creates a sequence of a node's metadata. The element is `nil` while the node does not exist.
    init(_ table: WatchTable, path: String?, stat: @escaping @Sendable () async throws -> Stat?) {
        self.init(
            source: WatchSource(
                table: table, keys: WatchKey.keys([.existence], path), read: stat,
                isSame: { $0?.czxid == $1?.czxid && $0?.mzxid == $1?.mzxid }))
    }
}

/// Reads with a watch. When the node does not exist, watches for its creation instead and returns `nil`.
private func watchedOrAbsent<T>(
    _ read: () async throws -> T, _ stat: () async throws -> Stat?
) async throws -> T? {
    while true {
        do {
            return try await read()
        } catch let error as ZooKeeperError where error.code == .noNode {
            // When the node was created between the two requests, the loop reads again.
            if try await stat() == nil { return nil }
        }
    }
}

extension WatchKey {
    fileprivate static func keys(_ kinds: [Kind], _ path: String?) -> [WatchKey] {
        path.map { path in kinds.map { WatchKey(kind: $0, path: path) } } ?? []
    }
}
