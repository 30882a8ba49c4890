/// A node's data together with its metadata, from one read.
public struct Node: Sendable, Hashable {
    /// The node's bytes. `nil` is ZooKeeper's null data, which is not the same as no bytes (`[]`).
    public var data: [UInt8]?
    /// The node's metadata at the same moment.
    public var stat: Stat

    /// Creates a node value. Meant for other implementations of a ZooKeeper.
    public init(data: [UInt8]?, stat: Stat) {
        self.data = data
        self.stat = stat
    }
}

/// A node that was just created.
public struct CreatedNode: Sendable, Hashable {
    /// The path, with the number that the server appended when the mode is sequential.
    public var path: String
    /// The new node's metadata.
    public var stat: Stat

    /// Creates a value. Meant for other implementations of a ZooKeeper.
    public init(path: String, stat: Stat) {
        self.path = path
        self.stat = stat
    }
}

/// The names of a node's children together with the node's metadata, from one read.
public struct NodeChildren: Sendable, Hashable {
    /// The children's names, without their parent's path, in no particular order.
    public var names: [String]
    /// The parent's metadata at the same moment.
    public var stat: Stat

    /// Creates a value. Meant for other implementations of a ZooKeeper.
    public init(names: [String], stat: Stat) {
        self.names = names
        self.stat = stat
    }
}
