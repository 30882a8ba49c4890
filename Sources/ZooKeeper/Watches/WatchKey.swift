/// Which of the library's three tables a watch stands in, and for which path.
struct WatchKey: Sendable, Hashable {
    enum Kind: Sendable, Hashable { case data, existence, children }
    let kind: Kind
    let path: String
}

/// An event by which the server answers a watch, once.
struct WatchEvent: Sendable, Hashable {
    enum Kind: Sendable, Hashable { case created, deleted, dataChanged, childrenChanged }
    let kind: Kind
    let path: String

    /// The watches that this event uses up, as the library's `collectWatchers` does.
    var keys: [WatchKey] {
        let kinds: [WatchKey.Kind] =
            switch kind {
            case .created, .dataChanged: [.data, .existence]
            case .childrenChanged: [.children]
            case .deleted: [.data, .existence, .children]
            }
        return kinds.map { WatchKey(kind: $0, path: path) }
    }
}
