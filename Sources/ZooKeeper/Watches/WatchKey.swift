/// The key of a watch: its kind and a path.
package struct WatchKey: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// The kinds that an event removes.
        case data, existence, children
        /// A watch of a node that stays, and one of a node and all nodes below it.
        case persistent, recursive
    }
    package let kind: Kind
    private let bytes: ExactString
    package var path: String { bytes.string }

    package init(kind: Kind, path: String) {
        self.kind = kind
        bytes = ExactString(path)
    }

    var isPersistent: Bool { kind == .persistent || kind == .recursive }

    /// Whether a persistent watch reports the event.
    func covers(_ event: WatchEvent) -> Bool {
        switch kind {
        case .data, .existence, .children: false
        case .persistent: event.path.isIdentical(to: path)
        case .recursive:
            event.kind != .childrenChanged
                && (path == "/" || event.path.isIdentical(to: path) || event.path.utf8.starts(with: "\(path)/".utf8))
        }
    }
}

/// An event with which the server fires a watch. A watch fires once, unless it is persistent.
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
