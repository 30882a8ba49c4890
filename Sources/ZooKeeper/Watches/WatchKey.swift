/// The key of a watch: one of the C client's three tables, and a path.
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

/// An event with which the server fires a watch. A watch fires once.
package struct WatchEvent: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case created, deleted, dataChanged, childrenChanged }
    package let kind: Kind
    private let bytes: ExactString
    package var path: String { bytes.string }

    package init(kind: Kind, path: String) {
        self.kind = kind
        bytes = ExactString(path)
    }

    /// The watches that this event removes, as `collectWatchers` of the C client does.
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
