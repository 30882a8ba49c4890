/// A request to ZooKeeper as a value. Its paths are complete, including the chroot.
package enum Request: Sendable {
    case create(path: String, data: [UInt8]?, mode: CreateMode, acl: [ACL])
    case delete(path: String, version: Int32?)
    case exists(path: String, watch: Bool)
    case get(path: String, watch: Bool)
    case children(path: String, watch: Bool)
    case set(path: String, data: [UInt8]?, version: Int32?)
    case getACL(path: String)
    case setACL(path: String, acl: [ACL], version: Int32?)
    case sync(path: String)
    /// Servers in ZooKeeper's notation, separated by commas. `nil` means none.
    case reconfigure(joining: String?, leaving: String?)
    /// The operations carry their access control lists.
    case multi([ZooKeeperOperation])
    /// Reads the data of several nodes with one request. The C client has no such request.
    case multiRead([String])
    /// Sets a persistent watch. The C client has no such request.
    case addWatch(path: String, isRecursive: Bool)
    /// Asks for the identities under which the server has authenticated the session. The C client has no such request.
    case whoAmI

    /// The path to name in an error. `nil` for a multi, whose operations have paths of their own.
    package var path: String? {
        switch self {
        case .create(let path, _, _, _), .delete(let path, _), .exists(let path, _), .get(let path, _),
            .children(let path, _), .set(let path, _, _), .getACL(let path), .setACL(let path, _, _), .sync(let path),
            .addWatch(let path, _):
            path
        case .reconfigure, .multi, .multiRead, .whoAmI: nil
        }
    }

    /// Whether the request changes nothing. The client then repeats it after a lost response.
    package var isRead: Bool {
        switch self {
        case .exists, .get, .children, .getACL, .sync, .multiRead, .addWatch, .whoAmI: true
        case .create, .delete, .set, .setACL, .reconfigure, .multi: false
        }
    }

    /// Whether the request, or the operation of a multi at the index, creates a node.
    func creates(at index: Int?) -> Bool {
        switch self {
        case .create: return true
        case .multi(let operations):
            if let index, operations.indices.contains(index), case .create = operations[index] { return true }
            return false
        default: return false
        }
    }

    /// The watch that the transport is asked to set with this read.
    var watch: WatchKey? {
        switch self {
        case .exists(let path, watch: true): WatchKey(kind: .existence, path: path)
        case .get(let path, watch: true): WatchKey(kind: .data, path: path)
        case .children(let path, watch: true): WatchKey(kind: .children, path: path)
        case .addWatch(let path, let isRecursive): WatchKey(kind: isRecursive ? .recursive : .persistent, path: path)
        default: nil
        }
    }

    /// The value of the metrics' dimension `operation`.
    package var name: String {
        switch self {
        case .create: "create"
        case .delete: "delete"
        case .exists: "exists"
        case .get: "get"
        case .children: "children"
        case .set: "set"
        case .getACL: "getACL"
        case .setACL: "setACL"
        case .sync: "sync"
        case .reconfigure: "reconfigure"
        case .multi: "multi"
        case .multiRead: "multiRead"
        case .addWatch: "addWatch"
        case .whoAmI: "whoAmI"
        }
    }

    /// All values of the metrics' dimension `operation`.
    static let names = [
        "create", "delete", "exists", "get", "children", "set", "getACL", "setACL", "sync", "reconfigure", "multi",
        "multiRead", "addWatch", "whoAmI",
    ]
}
