/// A request to ZooKeeper as a value, with full paths (the chroot is already in front).
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
    /// Members as ZooKeeper writes them, separated by commas; `nil` for none.
    case reconfigure(joining: String?, leaving: String?)
    /// The operations' ACLs are filled in.
    case multi([Operation])

    /// The path to name in an error; a multi has one for each operation.
    package var path: String? {
        switch self {
        case .create(let path, _, _, _), .delete(let path, _), .exists(let path, _), .get(let path, _),
            .children(let path, _), .set(let path, _, _), .getACL(let path), .setACL(let path, _, _), .sync(let path):
            path
        case .reconfigure, .multi: nil
        }
    }

    /// A read changes nothing, so it is simply asked again when its answer was lost.
    package var isRead: Bool {
        switch self {
        case .exists, .get, .children, .getACL, .sync: true
        case .create, .delete, .set, .setACL, .reconfigure, .multi: false
        }
    }

    /// Whether the request, or the given operation of a multi, creates a node.
    func creates(at index: Int?) -> Bool {
        switch self {
        case .create: return true
        case .multi(let operations):
            if let index, operations.indices.contains(index), case .create = operations[index] { return true }
            return false
        default: return false
        }
    }

    /// What the library is asked to watch with this read.
    var watch: WatchKey? {
        switch self {
        case .exists(let path, watch: true): WatchKey(kind: .existence, path: path)
        case .get(let path, watch: true): WatchKey(kind: .data, path: path)
        case .children(let path, watch: true): WatchKey(kind: .children, path: path)
        default: nil
        }
    }

    /// The dimension under which the request is counted.
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
        }
    }

    /// The names under which requests are counted, each once.
    static let names = [
        "create", "delete", "exists", "get", "children", "set", "getACL", "setACL", "sync", "reconfigure", "multi",
    ]
}
