import ZooKeeper

/// The result of reading one of several nodes.
enum NodeReading: Sendable {
    case node(Node)
    case missing
    /// ZooKeeper refuses to return the node.
    case refused(ZooKeeperError)

    var isMissing: Bool {
        if case .missing = self { true } else { false }
    }

    var node: Node? {
        if case .node(let node) = self { node } else { nil }
    }
}
