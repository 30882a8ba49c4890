import ZooKeeper

/// One node of the tree, as a server keeps it.
struct ZNode: Sendable {
    var data: [UInt8]?
    var acl: [ACL]
    var czxid: Int64
    var mzxid: Int64
    var pzxid: Int64
    var ctime: Int64
    var mtime: Int64
    var version: Int32 = 0
    var aversion: Int32 = 0
    /// How many children were ever created, which determines the sequence numbers. Deletes do not count.
    var creations: Int32 = 0
    /// The id of the session that owns an ephemeral node. 0 when the node is not ephemeral.
    var owner: Int64 = 0
    /// Whether the servers remove the node some time after its last child was deleted.
    var isContainer = false
    var children: Set<ExactString> = []

    init(data: [UInt8]?, acl: [ACL], zxid: Int64, time: Int64, owner: Int64 = 0, isContainer: Bool = false) {
        self.data = data
        self.acl = acl
        self.owner = owner
        self.isContainer = isContainer
        (czxid, mzxid, pzxid) = (zxid, zxid, zxid)
        (ctime, mtime) = (time, time)
    }

    /// The metadata that a client sees. The visible `cversion` counts deletes too
    /// (`DataNode.copyStat` in ZooKeeper's source).
    var stat: Stat {
        Stat(
            czxid: czxid, mzxid: mzxid, pzxid: pzxid, ctime: ctime, mtime: mtime, version: version,
            cversion: creations &* 2 &- Int32(children.count), aversion: aversion, ephemeralOwner: owner,
            dataLength: Int32(data?.count ?? 0), numChildren: Int32(children.count))
    }

    /// Returns whether one of the identities has one of the permissions.
    func allows(_ permissions: ACL.Permissions, to identities: [AuthInfo]) -> Bool {
        acl.contains { entry in
            !entry.permissions.isDisjoint(with: permissions)
                && (entry.scheme == "world" && entry.id == "anyone"
                    || identities.contains {
                        $0.scheme.isIdentical(to: entry.scheme) && $0.id.isIdentical(to: entry.id)
                    })
        }
    }
}
