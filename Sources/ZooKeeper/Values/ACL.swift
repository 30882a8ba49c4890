/// One entry of a node's access control list: who may do what.
public struct ACL: Sendable, Hashable {
    /// The operations that an entry allows.
    public struct Permissions: OptionSet, Sendable, Hashable {
        /// ZooKeeper's bit mask.
        public let rawValue: Int32
        /// Creates permissions from ZooKeeper's bit mask.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// Read the data and list the children.
        public static let read = Permissions(rawValue: 1)
        /// Set the data.
        public static let write = Permissions(rawValue: 2)
        /// Create a child.
        public static let create = Permissions(rawValue: 4)
        /// Delete a child.
        public static let delete = Permissions(rawValue: 8)
        /// Set the access control list.
        public static let admin = Permissions(rawValue: 16)
        /// All of them.
        public static let all = Permissions(rawValue: 31)
    }

    /// What is allowed.
    public var permissions: Permissions
    /// How the identity is proved: `world`, `auth`, `digest`, `ip`, …
    public var scheme: String
    /// The identity, in the form that the scheme asks for.
    public var id: String

    /// Creates an entry.
    public init(_ permissions: Permissions, scheme: String, id: String) {
        self.permissions = permissions
        self.scheme = scheme
        self.id = id
    }

    /// Compares the scheme and the identity by their bytes, as servers do.
    public static func == (a: ACL, b: ACL) -> Bool {
        a.permissions == b.permissions && a.scheme.isIdentical(to: b.scheme) && a.id.isIdentical(to: b.id)
    }

    /// Hashes what `==` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(permissions)
        hasher.combine(ExactString(scheme))
        hasher.combine(ExactString(id))
    }

    /// Anyone may do these.
    public static func world(_ permissions: Permissions) -> ACL { ACL(permissions, scheme: "world", id: "anyone") }

    /// Whoever this session has authenticated as may do these; needs
    /// ``ZooKeeperConfiguration/authentication``.
    public static func creator(_ permissions: Permissions) -> ACL { ACL(permissions, scheme: "auth", id: "") }
}

extension [ACL] {
    /// Anyone may do anything.
    public static var open: [ACL] { [.world(.all)] }
    /// Anyone may read.
    public static var readOnly: [ACL] { [.world(.read)] }
    /// Only whoever created the node may touch it; needs ``ZooKeeperConfiguration/authentication``.
    public static var creatorOnly: [ACL] { [.creator(.all)] }
}

/// A node's access control list together with the node's metadata, from one read.
public struct NodeACL: Sendable, Hashable {
    /// The entries.
    public var entries: [ACL]
    /// The node's metadata at the same moment.
    public var stat: Stat

    /// Creates a value. Meant for other implementations of a ZooKeeper.
    public init(entries: [ACL], stat: Stat) {
        self.entries = entries
        self.stat = stat
    }
}
