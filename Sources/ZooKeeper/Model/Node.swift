/// A node's data and metadata, from one read.
public struct Node: Sendable, Hashable {
    /// The node's bytes. `nil` is ZooKeeper's null data, which is different from empty data (`[]`).
    public var data: [UInt8]?
    /// The node's metadata at the same moment.
    public var stat: Stat

    /// Creates a node value. For other implementations of ``ZooKeeperStore``.
    public init(data: [UInt8]?, stat: Stat) {
        self.data = data
        self.stat = stat
    }
}

/// A node that was just created.
public struct CreatedNode: Sendable, Hashable {
    /// The path. For a sequential mode it includes the number that the server appended.
    public var path: String
    /// The new node's metadata.
    public var stat: Stat

    /// Creates a value. For other implementations of ``ZooKeeperStore``.
    public init(path: String, stat: Stat) {
        self.path = path
        self.stat = stat
    }
}

/// The names of a node's children and the node's metadata, from one read.
public struct NodeChildren: Sendable, Hashable {
    /// The names of the children, without the parent's path, in no particular order.
    public var names: [String]
    /// The parent's metadata at the same moment.
    public var stat: Stat

    /// Creates a value. For other implementations of ``ZooKeeperStore``.
    public init(names: [String], stat: Stat) {
        self.names = names
        self.stat = stat
    }
}
