/// One operation of a multi. The server applies all operations of a multi, in order and at one zxid, or none of them.
public enum ZooKeeperOperation: Sendable, Hashable {
    /// Creates a node. The mode must be neither a container nor have a time to live, because the C client cannot send
    /// those in a multi. An `acl` of `nil` means the client's default.
    case create(_ path: String, data: [UInt8]?, mode: CreateMode = .persistent, acl: [ACL]? = nil)
    /// Deletes a node that has no children, if its data has the given version. `nil` matches any version.
    case delete(_ path: String, version: Int32? = nil)
    /// Sets a node's data, if the data has the given version. `nil` matches any version.
    case set(_ path: String, data: [UInt8]?, version: Int32? = nil)
    /// Changes nothing, and makes the multi fail unless the node exists and its data has the given
    /// version. `nil` matches any version.
    case check(_ path: String, version: Int32? = nil)

    /// The path of the operation's node.
    public var path: String {
        switch self {
        case .create(let path, _, _, _), .delete(let path, _), .set(let path, _, _), .check(let path, _): path
        }
    }
}

/// The result of one operation of a multi. Results have the order of the operations.
public enum OperationResult: Sendable, Hashable {
    /// The node was created at this path. For a sequential mode it includes the number.
    case created(path: String)
    /// The node was deleted.
    case deleted
    /// The data was set. The value is the node's metadata after the change, whose `mzxid` is the zxid of the multi.
    case set(Stat)
    /// The check succeeded.
    case checked
}
