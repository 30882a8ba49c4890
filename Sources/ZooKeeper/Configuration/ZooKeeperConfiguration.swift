/// The servers of a client's ensemble, and the client's limits. Every setting but the servers has a default.
public struct ZooKeeperConfiguration: Sendable {
    /// Credentials that a session presents on each connection.
    public struct Authentication: Sendable, Hashable, CustomStringConvertible {
        let scheme: String
        let credentials: String

        /// Credentials of ZooKeeper's `digest` scheme. The password crosses the network in the clear.
        public static func digest(user: String, password: String) -> Authentication {
            Authentication(scheme: "digest", credentials: "\(user):\(password)")
        }

        /// Compares by bytes, as the servers do.
        public static func == (a: Authentication, b: Authentication) -> Bool {
            a.scheme.isIdentical(to: b.scheme) && a.credentials.isIdentical(to: b.credentials)
        }

        /// Hashes the same bytes that `==` compares.
        public func hash(into hasher: inout Hasher) {
            hasher.combine(ExactString(scheme))
            hasher.combine(ExactString(credentials))
        }

        /// The scheme only. Credentials are never shown.
        public var description: String { "Authentication(\(scheme))" }
    }

    /// The servers, as `host:port,host:port,…`, with IPv6 addresses in brackets.
    ///
    /// Prefer addresses to names, because the C client queries a failing name server again without a pause.
    /// Calls still end at their deadlines.
    public internal(set) var servers: String
    /// The path below which the client works as if it were the root, or an empty string. The node must exist;
    /// ``ZooKeeperClient/ensurePath(_:acl:timeout:)`` of `"/"` creates it.
    public internal(set) var chroot: String
    /// What connects the client to the servers. Default: the C client. In a build without it there is no default.
    public var transport: ZooKeeperTransport
    /// Whether the client follows a reconfiguration of the ensemble. Default: true.
    ///
    /// The client reads the current servers from `/zookeeper/config`. When its connection is lost, it continues on them
    /// in the same session, even when none of the configured ``servers`` is left. It ignores a configuration that does
    /// not say where each server accepts clients.
    ///
    /// The client first tries the servers that it knows for a tenth of the session timeout, and then alternates between
    /// the two lists, each for a third of the timeout. Set this to `false` when the servers cannot be reached, or
    /// should not be, by the addresses in their configuration: for example, when ``servers`` is a deliberate selection.
    public var followsReconfiguration: Bool
    /// How long the ensemble keeps a session without contact alive. Default: 10 seconds. The ensemble may clamp it, by
    /// default to between 2 and 20 ticks. ``SessionState/timeout`` is the negotiated value.
    public var sessionTimeout: Duration
    /// The credentials. Default: `nil`, which means none.
    public var authentication: Authentication?
    /// The access control list of nodes that are created without one. Default: anyone may do anything.
    public var defaultACL: [ACL]
    /// The maximum number of requests without a response, 1…4096. Further requests wait. Default: 500. A server itself
    /// stops reading at 1,000 requests of all its clients (`globalOutstandingLimit`).
    public var maximumInFlightRequests: Int
    /// The maximum size of the requests without a response, in bytes. Default: 16 MiB.
    public var maximumInFlightBytes: Int
    /// The maximum number of requests that wait to be sent. A further call throws
    /// ``ZooKeeperError/Code/overloaded``. Default: 65,536.
    public var maximumQueuedRequests: Int
    /// How long a call waits for a connection and its response before it throws
    /// ``ZooKeeperError/Code/deadlineExceeded``. Default: 30 seconds.
    public var requestTimeout: Duration
    /// The maximum size of a request in bytes. A larger one throws ``ZooKeeperError/Code/requestTooLarge``
    /// before anything is sent. Default: 512 KiB. At most 1,048,575, because a server with default settings
    /// closes the connection on a larger one.
    public var maximumRequestSize: Int

    /// Creates a configuration. Each property describes its setting.
    ///
    /// `servers` is `host:port,…`, optionally followed by a chroot (`127.0.0.1:2181/apps/orders`).
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) with the reason.
    public init(
        servers: String,
        transport: ZooKeeperTransport? = nil,
        followsReconfiguration: Bool = true,
        sessionTimeout: Duration = .seconds(10),
        authentication: Authentication? = nil,
        defaultACL: [ACL] = .open,
        maximumInFlightRequests: Int = 500,
        maximumInFlightBytes: Int = 16 << 20,
        maximumQueuedRequests: Int = 65_536,
        requestTimeout: Duration = .seconds(30),
        maximumRequestSize: Int = 512 << 10
    ) throws {
        let address = try ServerList(parsing: servers)
        self.servers = address.servers
        self.chroot = address.chroot
        guard let transport = transport ?? .standard else {
            throw ZooKeeperError(
                code: .invalidArgument,
                message: """
                    There is no transport, because the package was built without the C client. Pass one: \
                    transport: .nio, of the module ZooKeeperNIO.
                    """, path: nil, outcome: .notApplied)
        }
        self.transport = transport
        self.followsReconfiguration = followsReconfiguration
        self.sessionTimeout = sessionTimeout
        self.authentication = authentication
        self.defaultACL = defaultACL
        self.maximumInFlightRequests = maximumInFlightRequests
        self.maximumInFlightBytes = maximumInFlightBytes
        self.maximumQueuedRequests = maximumQueuedRequests
        self.requestTimeout = requestTimeout
        self.maximumRequestSize = maximumRequestSize
        try validate()
    }

    /// Throws for a value outside its limits. The client calls it again when it is created,
    /// because the properties are mutable.
    func validate() throws {
        func require(_ condition: Bool, _ message: String) throws {
            if condition { return }
            throw ZooKeeperError(code: .invalidArgument, message: message, path: nil, outcome: .notApplied)
        }
        try require(
            sessionTimeout >= .milliseconds(100) && sessionTimeout <= .seconds(86_400),
            "sessionTimeout must be from 100 milliseconds to 1 day, not \(sessionTimeout).")
        try require(
            (1...4_096).contains(maximumInFlightRequests),
            "maximumInFlightRequests must be from 1 to 4096, not \(maximumInFlightRequests).")
        try require(
            maximumInFlightBytes >= 1_024,
            "maximumInFlightBytes must be at least 1024, not \(maximumInFlightBytes).")
        try require(
            maximumQueuedRequests >= 1, "maximumQueuedRequests must be at least 1, not \(maximumQueuedRequests).")
        try require(
            requestTimeout > .zero && requestTimeout <= .seconds(86_400),
            "requestTimeout must be more than zero and at most 1 day, not \(requestTimeout).")
        try require(
            (1_024...1_048_575).contains(maximumRequestSize),
            "maximumRequestSize must be from 1024 to 1048575 bytes, not \(maximumRequestSize).")
        try require(
            !defaultACL.isEmpty, "defaultACL must not be empty. Use .open to permit every operation to every client.")
        if let authentication {
            try require(
                !authentication.credentials.utf8.contains(0) && authentication.credentials.utf8.count < 65_536,
                "The credentials must not contain a NUL character, and must be shorter than 64 KiB.")
        }
    }
}
