/// What kind of node a create makes.
public struct CreateMode: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case persistent, ephemeral, persistentSequential, ephemeralSequential, container
        case persistentWithTTL, persistentSequentialWithTTL
    }

    let kind: Kind
    /// How long a node with a time to live may be unchanged and childless before the server removes it.
    public let timeToLive: Duration?

    private init(_ kind: Kind, timeToLive: Duration? = nil) {
        self.kind = kind
        self.timeToLive = timeToLive
    }

    /// Stays until it is deleted.
    public static let persistent = CreateMode(.persistent)
    /// Is removed by the server when the session that created it ends. It can have no children.
    public static let ephemeral = CreateMode(.ephemeral)
    /// Persistent; the server appends the parent's next number, as ten digits.
    public static let persistentSequential = CreateMode(.persistentSequential)
    /// Ephemeral; the server appends the parent's next number, as ten digits.
    public static let ephemeralSequential = CreateMode(.ephemeralSequential)
    /// Is removed by the server some time after its last child has gone.
    public static let container = CreateMode(.container)

    /// Persistent, and removed by the server when it was unchanged and childless for so long.
    ///
    /// The server must allow it (`zookeeper.extendedTypesEnabled=true`), or answers
    /// ``ZooKeeperError/Code/unimplemented``.
    public static func persistent(timeToLive: Duration) -> CreateMode {
        CreateMode(.persistentWithTTL, timeToLive: timeToLive)
    }

    /// Like ``persistent(timeToLive:)``, with the parent's next number appended to its name.
    public static func persistentSequential(timeToLive: Duration) -> CreateMode {
        CreateMode(.persistentSequentialWithTTL, timeToLive: timeToLive)
    }

    /// Whether the node goes when its session ends.
    public var isEphemeral: Bool { kind == .ephemeral || kind == .ephemeralSequential }

    /// Whether the server appends a number to the name.
    public var isSequential: Bool {
        switch kind {
        case .persistentSequential, .ephemeralSequential, .persistentSequentialWithTTL: true
        case .persistent, .ephemeral, .container, .persistentWithTTL: false
        }
    }

    /// Whether the mode may stand in a multi. The C client aborts the process on a container there and refuses a
    /// time to live.
    var isAllowedInMulti: Bool { kind != .container && timeToLive == nil }
}
