/// How a client reaches its ensemble, and its limits. Every value but the servers has a default.
public struct ZooKeeperConfiguration: Sendable {
    /// Credentials that a session gives with each connection.
    public struct Authentication: Sendable, Hashable, CustomStringConvertible {
        let scheme: String
        let credentials: String

        /// ZooKeeper's `digest` scheme: a user's name and password. The password crosses the network in the clear.
        public static func digest(user: String, password: String) -> Authentication {
            Authentication(scheme: "digest", credentials: "\(user):\(password)")
        }

        /// Compares by bytes, as servers do.
        public static func == (a: Authentication, b: Authentication) -> Bool {
            a.scheme.isIdentical(to: b.scheme) && a.credentials.isIdentical(to: b.credentials)
        }

        /// Hashes what `==` compares.
        public func hash(into hasher: inout Hasher) {
            hasher.combine(ExactString(scheme))
            hasher.combine(ExactString(credentials))
        }

        /// The scheme alone: credentials are never shown.
        public var description: String { "Authentication(\(scheme))" }
    }

    /// The servers, as `host:port,host:port,…`, an IPv6 address in brackets.
    ///
    /// Prefer addresses to names: while a name server fails, the C client asks it again without a pause.
    /// Calls keep their deadlines all the same.
    public internal(set) var servers: String
    /// The path below which everything is done, as if it were the root; empty for none. It must exist:
    /// ``ZooKeeperClient/ensurePath(_:acl:timeout:)`` of `"/"` creates it.
    public internal(set) var chroot: String
    /// Whether the client follows the ensemble when its members change (default: yes): it reads who they are from
    /// `/zookeeper/config`, and when its connection ends, goes on with them in the same session, also when none of ``servers``
    /// is left. An ensemble whose configuration does not say where each member serves clients is not followed.
    ///
    /// They are tried when none of the present servers has answered for a tenth of the session timeout, and then the two lists in
    /// turn, each for a third. Set it to `false` where the members cannot be reached by the names that they have for each other,
    /// or should not: when ``servers`` are chosen from them on purpose.
    public var followsMembers: Bool
    /// How long the ensemble keeps a session alive that is silent. Default: 10 seconds. The ensemble may clamp it,
    /// by default to between 2 and 20 of its ticks; ``SessionState/timeout`` says what was agreed.
    public var sessionTimeout: Duration
    /// Credentials, or `nil` for none (the default).
    public var authentication: Authentication?
    /// The access control list of nodes that are created without one. Default: anyone may do anything.
    public var defaultACL: [ACL]
    /// The most requests that are sent and not answered, 1…4096; further calls wait. Default: 500. A server itself
    /// stops reading at 1,000 over all its clients (`globalOutstandingLimit`).
    public var inFlightWindow: Int
    /// The most bytes of requests that are sent and not answered. Default: 16 MiB.
    public var inFlightBytes: Int
    /// The most calls that wait to be sent; a further one throws ``ZooKeeperError/Code/overloaded``. Default: 65,536.
    public var maximumWaitingCalls: Int
    /// How long a call waits for a connection and its answer before it throws
    /// ``ZooKeeperError/Code/deadlineExceeded``. Default: 30 seconds.
    public var callDeadline: Duration
    /// The largest request in bytes; a larger one throws ``ZooKeeperError/Code/requestTooLarge`` before anything is
    /// sent. Default: 512 KiB; at most 1,048,575, where a server with default settings drops the connection.
    public var maximumRequestSize: Int

    /// Creates a configuration; each value is described at its property.
    ///
    /// `servers` is `host:port,…`, with an optional chroot at its end (`127.0.0.1:2181/apps/orders`).
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/invalidArgument``) that says what is wrong.
    public init(
        servers: String,
        followsMembers: Bool = true,
        sessionTimeout: Duration = .seconds(10),
        authentication: Authentication? = nil,
        defaultACL: [ACL] = .open,
        inFlightWindow: Int = 500,
        inFlightBytes: Int = 16 << 20,
        maximumWaitingCalls: Int = 65_536,
        callDeadline: Duration = .seconds(30),
        maximumRequestSize: Int = 512 << 10
    ) throws {
        let address = try ServerList(parsing: servers)
        self.servers = address.servers
        self.chroot = address.chroot
        self.followsMembers = followsMembers
        self.sessionTimeout = sessionTimeout
        self.authentication = authentication
        self.defaultACL = defaultACL
        self.inFlightWindow = inFlightWindow
        self.inFlightBytes = inFlightBytes
        self.maximumWaitingCalls = maximumWaitingCalls
        self.callDeadline = callDeadline
        self.maximumRequestSize = maximumRequestSize
        try validate()
    }

    /// Throws for a value outside its limits; also called when a client is made, since the values can be changed.
    func validate() throws {
        func require(_ condition: Bool, _ message: String) throws {
            if condition { return }
            throw ZooKeeperError(code: .invalidArgument, message: message, path: nil, outcome: .notApplied)
        }
        try require(
            sessionTimeout >= .milliseconds(100) && sessionTimeout <= .seconds(86_400),
            "sessionTimeout must be from 100 milliseconds to a day.")
        try require((1...4_096).contains(inFlightWindow), "inFlightWindow must be from 1 to 4096.")
        try require(inFlightBytes >= 1_024, "inFlightBytes must be at least 1024.")
        try require(maximumWaitingCalls >= 1, "maximumWaitingCalls must be at least 1.")
        try require(
            callDeadline > .zero && callDeadline <= .seconds(86_400), "callDeadline must be positive and at most a day."
        )
        try require(
            (1_024...1_048_575).contains(maximumRequestSize), "maximumRequestSize must be from 1024 to 1048575 bytes.")
        try require(!defaultACL.isEmpty, "defaultACL must have an entry; .open allows everything to anyone.")
        if let authentication {
            try require(
                !authentication.credentials.utf8.contains(0) && authentication.credentials.utf8.count < 65_536,
                "Credentials must not hold a NUL character and must be shorter than 64 KiB.")
        }
    }
}
