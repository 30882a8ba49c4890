extension Request {
    /// The size of the packet in bytes in the jute encoding, never less than the true size.
    ///
    /// The server compares the packet without its length field of four bytes with `jute.maxbuffer`.
    package var encodedSize: Int {
        let header = 8
        switch self {
        case .create(let path, let data, let mode, let acl):
            return header + Self.createSize(path, data, acl) + (mode.timeToLive == nil ? 0 : 8)
        case .delete(let path, _): return header + Self.size(path) + 4
        case .exists(let path, _), .get(let path, _), .children(let path, _): return header + Self.size(path) + 1
        case .set(let path, let data, _): return header + Self.size(path) + Self.size(data) + 4
        case .getACL(let path), .sync(let path): return header + Self.size(path)
        case .setACL(let path, let acl, _): return header + Self.size(path) + Self.size(acl) + 4
        case .reconfigure(let joining, let leaving):
            return header + Self.size(joining ?? "") + Self.size(leaving ?? "") + Self.size("") + 8
        case .multi(let operations):
            // Each operation, and the end of the multi, has a header of nine bytes: type, done, error.
            return operations.reduce(header + 9) { $0 + 9 + $1.encodedSize }
        case .addWatch(let path, _): return header + Self.size(path) + 4
        case .whoAmI: return header
        case .multiRead(let paths): return paths.reduce(header + 9) { $0 + 9 + Self.size($1) + 1 }
        }
    }

    fileprivate static func createSize(_ path: String, _ data: [UInt8]?, _ acl: [ACL]) -> Int {
        size(path) + size(data) + size(acl) + 4
    }
    fileprivate static func size(_ path: String) -> Int { 4 + path.utf8.count }
    fileprivate static func size(_ data: [UInt8]?) -> Int { 4 + (data?.count ?? 0) }
    private static func size(_ acl: [ACL]) -> Int {
        acl.reduce(4) { $0 + 12 + $1.scheme.utf8.count + $1.id.utf8.count }
    }
}

extension ZooKeeperOperation {
    fileprivate var encodedSize: Int {
        switch self {
        case .create(let path, let data, _, let acl): Request.createSize(path, data, acl ?? .open)
        case .delete(let path, _), .check(let path, _): Request.size(path) + 4
        case .set(let path, let data, _): Request.size(path) + Request.size(data) + 4
        }
    }

    /// The bytes that the operation adds to the packet of a multi.
    package var sizeInMulti: Int { 9 + encodedSize }
}
