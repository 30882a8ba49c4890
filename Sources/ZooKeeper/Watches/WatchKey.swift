/// Which of the library's three tables a watch stands in, and for which path.
package struct WatchKey: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case data, existence, children }
    package let kind: Kind
    private let bytes: ExactString
    package var path: String { bytes.string }

    package init(kind: Kind, path: String) {
        self.kind = kind
        bytes = ExactString(path)
    }
}

/// An event by which the server answers a watch, once.
package struct WatchEvent: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case created, deleted, dataChanged, childrenChanged }
    package let kind: Kind
    private let bytes: ExactString
    package var path: String { bytes.string }

    package init(kind: Kind, path: String) {
        self.kind = kind
        bytes = ExactString(path)
    }

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
