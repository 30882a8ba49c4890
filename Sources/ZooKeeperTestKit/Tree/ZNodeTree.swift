import ZooKeeper

/// The nodes, and the effect of each operation on them. It is a value without sessions or time.
///
/// It checks for errors in the order of the server (`PrepRequestProcessor` in ZooKeeper's source), because the error
/// code must be the same when several errors apply.
struct ZNodeTree: Sendable {
    /// The session that changes the tree, and the time of the change.
    struct Author: Sendable {
        let session: Int64
        let identities: [AuthInfo]
        let zxid: Int64
        /// Milliseconds since 1970.
        let time: Int64
    }

    /// The reason why an operation was refused.
    struct OperationError: Error {
        let code: ZooKeeperError.Code
        init(_ code: ZooKeeperError.Code) { self.code = code }
    }

    private(set) var nodes: [ExactString: ZNode]
    /// The nodes that the operations since the last commit have replaced. They restore
    /// the tree when a multi is refused.
    private var replaced: [(path: ExactString, node: ZNode?)] = []
    /// The events of the operations since the last commit.
    private var events: [Event] = []
    /// The hard quotas by their paths.
    private var quotas: [ExactString: HardQuota] = [:]

    /// An event for the sessions that watch the node and may read it.
    struct Event: Sendable {
        let event: WatchEvent
        let node: ZNode

        func isVisible(to identities: [AuthInfo]) -> Bool { node.allows(.read, to: identities) }
    }

    private struct HardQuota {
        let count: Int?
        let bytes: Int?
    }

    init(time: Int64) { nodes = ["/": ZNode(data: [], acl: .open, zxid: 0, time: time)] }

    /// Commits the operations since the last commit.
    ///
    /// - Returns: The events that they cause, in order.
    mutating func commit() -> [Event] {
        defer {
            replaced = []
            events = []
        }
        return events
    }

    /// Undoes the operations since the last commit.
    mutating func rollBack() {
        for (path, node) in replaced.reversed() { nodes[path] = node }
        replaced = []
        events = []
    }

    // MARK: Reading

    /// Returns the node at the path, or `nil`.
    subscript(path: String) -> ZNode? { nodes[ExactString(path)] }

    /// Returns the number of nodes at and below the root, and the bytes of their data.
    func usage(of root: String) -> (count: Int, bytes: Int) {
        guard let node = self[root] else { return (0, 0) }
        let prefix = root == "/" ? root : root + "/"
        return node.children.reduce(into: (1, node.data?.count ?? 0)) { sum, name in
            let below = usage(of: prefix + name.string)
            sum.0 += below.count
            sum.1 += below.bytes
        }
    }

    func node(_ path: String, as permission: ACL.Permissions, for identities: [AuthInfo]) throws(OperationError)
        -> ZNode
    {
        guard let node = self[path] else { throw OperationError(.noNode) }
        guard node.allows(permission, to: identities) else { throw OperationError(.noAuth) }
        return node
    }

    // MARK: Quotas

    /// Limits the number of nodes at and below the path, and the bytes of their data. Two `nil`s remove the limits.
    mutating func setHardQuota(_ path: String, count: Int?, bytes: Int?) {
        quotas[ExactString(path)] = count == nil && bytes == nil ? nil : HardQuota(count: count, bytes: bytes)
    }

    /// Refuses an operation that exceeds the nearest quota, as `ZooKeeperServer.checkQuota` does. Compares the
    /// operation with the tree before the transaction, so the other operations of the transaction do not count. An
    /// operation that changes the size is refused when the result is above the limit, even when it makes the data
    /// smaller than before.
    private func checkQuota(_ path: String, creating count: Int = 0, bytes: Int) throws(OperationError) {
        guard !quotas.isEmpty, let (root, quota) = nearestQuota(path) else { return }
        var committed = self
        committed.rollBack()
        let usage = committed.usage(of: root)
        if let limit = quota.count, count != 0, usage.count + count > limit { throw OperationError(.quotaExceeded) }
        if let limit = quota.bytes, bytes != 0, usage.bytes + bytes > limit { throw OperationError(.quotaExceeded) }
    }

    private func nearestQuota(_ path: String) -> (root: String, quota: HardQuota)? {
        if let quota = quotas[ExactString(path)] { return (path, quota) }
        return path == "/" ? nil : nearestQuota(Self.parent(of: path))
    }

    // MARK: Changes

    mutating func apply(_ operation: ZooKeeperOperation, by author: Author) throws(OperationError) -> OperationResult {
        switch operation {
        case .create(let path, let data, let mode, let acl):
            return .created(path: try create(path, data, mode, acl ?? .open, author).path)
        case .delete(let path, let version):
            try delete(path, version, author)
            return .deleted
        case .set(let path, let data, let version): return .set(try set(path, data, version, author))
        case .check(let path, let version):
            try Self.checkVersion(version, in: try node(path, as: .read, for: author.identities).version)
            return .checked
        }
    }

    mutating func create(
        _ path: String, _ data: [UInt8]?, _ mode: CreateMode, _ acl: [ACL], _ author: Author
    ) throws(OperationError) -> CreatedNode {
        let acl = try Self.resolved(acl, author)
        let parentPath = Self.parent(of: path)
        var parent = try node(parentPath, as: .create, for: author.identities)
        let path = mode.isSequential ? path + Self.digits(parent.creations) : path
        guard self[path] == nil else { throw OperationError(.nodeExists) }
        guard parent.owner == 0 else { throw OperationError(.noChildrenForEphemerals) }
        try checkQuota(path, creating: 1, bytes: data?.count ?? 0)
        parent.creations &+= 1
        parent.pzxid = author.zxid
        parent.children.insert(ExactString(NodePath.name(of: path)))
        let node = ZNode(
            data: data, acl: acl, zxid: author.zxid, time: author.time, owner: mode.isEphemeral ? author.session : 0,
            isContainer: mode == .container)
        replace(parentPath, with: parent)
        replace(path, with: node)
        recordEvent(.created, path, node)
        recordEvent(.childrenChanged, parentPath, parent)
        return CreatedNode(path: path, stat: node.stat)
    }

    mutating func delete(_ path: String, _ version: Int32?, _ author: Author) throws(OperationError) {
        guard path != "/" else { throw OperationError(.badArguments) }
        _ = try node(Self.parent(of: path), as: .delete, for: author.identities)
        guard let node = self[path] else { throw OperationError(.noNode) }
        try Self.checkVersion(version, in: node.version)
        guard node.children.isEmpty else { throw OperationError(.notEmpty) }
        remove(path, zxid: author.zxid)
    }

    /// Removes the ephemeral nodes of the sessions that have ended.
    mutating func removeEphemerals(zxid: Int64, where hasEnded: (_ owner: Int64) -> Bool) {
        for (path, node) in nodes where node.owner != 0 && hasEnded(node.owner) { remove(path.string, zxid: zxid) }
    }

    /// The containers that have had children and have none now. A container that was never used stays.
    var emptyContainers: [String] {
        nodes.filter { $0.value.isContainer && $0.value.children.isEmpty && $0.value.creations > 0 }.keys.sorted()
            .map(\.string)
    }

    /// Removes an empty container, as the leader does.
    mutating func removeContainer(_ path: String, zxid: Int64) { remove(path, zxid: zxid) }

    mutating func set(
        _ path: String, _ data: [UInt8]?, _ version: Int32?, _ author: Author
    ) throws(OperationError) -> Stat {
        var node = try node(path, as: .write, for: author.identities)
        try checkQuota(path, bytes: (data?.count ?? 0) - (node.data?.count ?? 0))
        try Self.checkVersion(version, in: node.version)
        node.data = data
        node.version &+= 1
        node.mzxid = author.zxid
        node.mtime = author.time
        replace(path, with: node)
        recordEvent(.dataChanged, path, node)
        return node.stat
    }

    mutating func setACL(_ path: String, _ acl: [ACL], _ version: Int32?, _ author: Author) throws(OperationError)
        -> Stat
    {
        let acl = try Self.resolved(acl, author)
        var node = try node(path, as: .admin, for: author.identities)
        try Self.checkVersion(version, in: node.aversion)
        node.acl = acl
        node.aversion &+= 1
        replace(path, with: node)
        return node.stat
    }

    // MARK: Helpers

    private mutating func replace(_ path: String, with node: ZNode?) {
        let path = ExactString(path)
        replaced.append((path, nodes[path]))
        nodes[path] = node
    }

    private mutating func remove(_ path: String, zxid: Int64) {
        let parentPath = Self.parent(of: path)
        let removed = self[path]
        replace(path, with: nil)
        if let removed { recordEvent(.deleted, path, removed) }
        guard var parent = self[parentPath] else { return }
        parent.children.remove(ExactString(NodePath.name(of: path)))
        parent.pzxid = zxid
        replace(parentPath, with: parent)
        recordEvent(.childrenChanged, parentPath, parent)
    }

    private mutating func recordEvent(_ kind: WatchEvent.Kind, _ path: String, _ node: ZNode) {
        events.append(Event(event: WatchEvent(kind: kind, path: path), node: node))
    }

    private static func checkVersion(_ expected: Int32?, in version: Int32) throws(OperationError) {
        if let expected, expected != -1, expected != version { throw OperationError(.badVersion) }
    }

    private static func resolved(_ acl: [ACL], _ author: Author) throws(OperationError) -> [ACL] {
        let entries = acl.flatMap { entry in
            entry.scheme == "auth"
                ? author.identities.map { ACL(entry.permissions, scheme: $0.scheme, id: $0.id) } : [entry]
        }
        guard !entries.isEmpty else { throw OperationError(.invalidACL) }
        return entries
    }

    static func parent(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    /// Formats a number as Java's `%010d` does.
    static func digits(_ number: Int32) -> String {
        let digits = String(number.magnitude)
        let width = number < 0 ? 9 : 10
        return (number < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
