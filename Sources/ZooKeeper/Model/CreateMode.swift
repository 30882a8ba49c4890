/// The kind of node that a create makes.
public struct CreateMode: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case persistent, ephemeral, persistentSequential, ephemeralSequential, container
        case persistentWithTTL, persistentSequentialWithTTL
    }

    let kind: Kind
    /// How long a node with a time to live may remain unchanged and without children before the server removes it.
    public let timeToLive: Duration?

    private init(_ kind: Kind, timeToLive: Duration? = nil) {
        self.kind = kind
        self.timeToLive = timeToLive
    }

    /// The node remains until it is deleted.
    public static let persistent = CreateMode(.persistent)
    /// The server removes the node when the session that created it ends. The node cannot have children.
    public static let ephemeral = CreateMode(.ephemeral)
    /// A persistent node. The server appends the parent's next number to its name, as ten digits.
    public static let persistentSequential = CreateMode(.persistentSequential)
    /// An ephemeral node. The server appends the parent's next number to its name, as ten digits.
    public static let ephemeralSequential = CreateMode(.ephemeralSequential)
    /// The server removes the node some time after its last child was deleted.
    public static let container = CreateMode(.container)

    /// A persistent node that the server removes when it has been unchanged and without children for the given time.
    ///
    /// The server must allow it (`zookeeper.extendedTypesEnabled=true`). Otherwise it responds with
    /// ``ZooKeeperError/Code/unimplemented``.
    public static func persistent(timeToLive: Duration) -> CreateMode {
        CreateMode(.persistentWithTTL, timeToLive: timeToLive)
    }

    /// A node like ``persistent(timeToLive:)``, with the parent's next number appended to its name.
    public static func persistentSequential(timeToLive: Duration) -> CreateMode {
        CreateMode(.persistentSequentialWithTTL, timeToLive: timeToLive)
    }

    /// Whether the node is removed when its session ends.
    public var isEphemeral: Bool { kind == .ephemeral || kind == .ephemeralSequential }

    /// Whether the server appends a number to the name.
    public var isSequential: Bool {
        switch kind {
        case .persistentSequential, .ephemeralSequential, .persistentSequentialWithTTL: true
        case .persistent, .ephemeral, .container, .persistentWithTTL: false
        }
    }

    /// ZooKeeper's number of the mode.
    package var flags: Int32 {
        switch kind {
        case .persistent: 0
        case .ephemeral: 1
        case .persistentSequential: 2
        case .ephemeralSequential: 3
        case .container: 4
        case .persistentWithTTL: 5
        case .persistentSequentialWithTTL: 6
        }
    }

    /// Whether a multi may contain the mode. In a multi, the C client aborts the process for a
    /// container, and refuses a time to live.
    var isAllowedInMulti: Bool { kind != .container && timeToLive == nil }
}
