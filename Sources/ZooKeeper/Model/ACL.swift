/// One entry of a node's access control list: an identity and its permissions.
public struct ACL: Sendable, Hashable {
    /// The operations that an entry allows.
    public struct Permissions: OptionSet, Sendable, Hashable {
        /// ZooKeeper's bit mask.
        public let rawValue: Int32
        /// Creates permissions from ZooKeeper's bit mask.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// Permission to read the data and list the children.
        public static let read = Permissions(rawValue: 1)
        /// Permission to set the data.
        public static let write = Permissions(rawValue: 2)
        /// Permission to create a child.
        public static let create = Permissions(rawValue: 4)
        /// Permission to delete a child.
        public static let delete = Permissions(rawValue: 8)
        /// Permission to set the access control list.
        public static let admin = Permissions(rawValue: 16)
        /// All permissions.
        public static let all = Permissions(rawValue: 31)
    }

    /// The permissions of the identity.
    public var permissions: Permissions
    /// The scheme that authenticates the identity: `world`, `auth`, `digest`, `ip`, …
    public var scheme: String
    /// The identity, in the format of the scheme.
    public var id: String

    /// Creates an entry.
    public init(_ permissions: Permissions, scheme: String, id: String) {
        self.permissions = permissions
        self.scheme = scheme
        self.id = id
    }

    /// Compares the scheme and the identity by their bytes, as the servers do.
    public static func == (a: ACL, b: ACL) -> Bool {
        a.permissions == b.permissions && a.scheme.isIdentical(to: b.scheme) && a.id.isIdentical(to: b.id)
    }

    /// Hashes the same values that `==` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(permissions)
        hasher.combine(ExactString(scheme))
        hasher.combine(ExactString(id))
    }

    /// Grants the permissions to anyone.
    public static func world(_ permissions: Permissions) -> ACL { ACL(permissions, scheme: "world", id: "anyone") }

    /// Grants the permissions to the authenticated identities of this session. Requires
    /// ``ZooKeeperConfiguration/authentication``.
    public static func creator(_ permissions: Permissions) -> ACL { ACL(permissions, scheme: "auth", id: "") }
}

extension [ACL] {
    /// Anyone may do anything.
    public static var open: [ACL] { [.world(.all)] }
    /// Anyone may read.
    public static var readOnly: [ACL] { [.world(.read)] }
    /// Only the creator of the node may access it. Requires ``ZooKeeperConfiguration/authentication``.
    public static var creatorOnly: [ACL] { [.creator(.all)] }
}

/// A node's access control list and metadata, from one read.
public struct NodeACL: Sendable, Hashable {
    /// The entries.
    public var entries: [ACL]
    /// The node's metadata at the same moment.
    public var stat: Stat

    /// Creates a value. For other implementations of ``ZooKeeperStore``.
    public init(entries: [ACL], stat: Stat) {
        self.entries = entries
        self.stat = stat
    }
}
