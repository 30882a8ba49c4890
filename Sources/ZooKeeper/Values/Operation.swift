/// One operation of a multi: all of a multi's operations are applied, in order and at one zxid, or none is.
public enum Operation: Sendable, Hashable {
    /// Creates a node. The mode may not be a container and may not have a time to live: the C client can send
    /// neither inside a multi. `acl` `nil` is the client's default.
    case create(_ path: String, data: [UInt8]?, mode: CreateMode = .persistent, acl: [ACL]? = nil)
    /// Deletes a node that has no children, if its version is the given one (`nil`: any).
    case delete(_ path: String, version: Int32? = nil)
    /// Sets a node's data, if its version is the given one (`nil`: any).
    case set(_ path: String, data: [UInt8]?, version: Int32? = nil)
    /// Changes nothing, and fails the multi unless the node exists with the given version (`nil`: any).
    case check(_ path: String, version: Int32? = nil)

    /// The path that the operation is about.
    public var path: String {
        switch self {
        case .create(let path, _, _, _), .delete(let path, _), .set(let path, _, _), .check(let path, _): path
        }
    }
}

/// What one operation of a multi did. Results stand in the order of the operations.
public enum OperationResult: Sendable, Hashable {
    /// The node was created at this path, with its number when the mode is sequential.
    case created(path: String)
    /// The node was deleted.
    case deleted
    /// The data was set; this is the node's metadata afterwards, whose `mzxid` is the multi's zxid.
    case set(Stat)
    /// The check held.
    case checked
}
