import GatewayExtensions
public import ZooKeeper

/// Where a gateway listens, which ensembles it speaks for, and its limits. Every value has a default.
public struct GatewayConfiguration: Sendable {
    /// An ensemble, or a part of one, below a path of the gateway.
    public struct Endpoint: Sendable {
        /// The path in front of `/znodes/v1` and `/sessions/v1`; `/` is none.
        public var path: String
        /// How the ensemble is reached, with a chroot and credentials if wanted. Nothing outside the chroot can be reached.
        public var zookeeper: ZooKeeperConfiguration
        /// Who may use it, by HTTP basic authentication: passwords by names. When it is empty, the gateway's own users.
        public var users: [String: String]

        /// Creates an endpoint.
        public init(path: String = "/", zookeeper: ZooKeeperConfiguration, users: [String: String] = [:]) {
            self.path = path
            self.zookeeper = zookeeper
            self.users = users
        }
    }

    /// A certificate and its key, both in files in PEM form.
    public struct TLS: Sendable, Hashable {
        /// The certificate, and those that lead to a root.
        public var certificateChain: String
        /// The key.
        public var privateKey: String

        /// Names the files.
        public init(certificateChain: String, privateKey: String) {
            self.certificateChain = certificateChain
            self.privateKey = privateKey
        }
    }

    /// Where to listen. Default: 127.0.0.1, so that only this machine is served.
    public var host: String
    /// The port; 0 is any free one. Default: 9998, ZooKeeper's own for its REST interface.
    public var port: Int
    /// The ensembles.
    public var endpoints: [Endpoint]
    /// Who may use endpoints that have no users of their own. When both are empty, anybody.
    public var users: [String: String]
    /// Speaks HTTPS; `nil` (the default) is HTTP.
    public var tls: TLS?
    /// Whether `/extensions/v1` is there, which ZooKeeper's own gateway does not have: transactions and watches, for clients that
    /// keep the queue's full guarantee over HTTP. Default: yes.
    public var offersExtensions = true
    /// The host names that requests may be for. Addresses, ``host`` and names that cannot be registered (`localhost`,
    /// one word, names below `.localhost`, `.local` and `.internal`) are always allowed. Other requests are answered
    /// 421, because another site's page could let its own name point to the gateway (DNS rebinding). `*` allows any
    /// name. When the list is empty (the default), a gateway with ``tls``, or with users for each endpoint, serves any
    /// name, because neither lets such a page in.
    public var allowedHosts: [String] = []
    /// The version and the commit of the program, which `/health` and the OpenAPI document tell. Default: `unknown`.
    public var version = "unknown"
    /// The most bytes of data in one request; more is answered 413. What counts is the data itself: a body of JSON, which holds
    /// it in base64 or escaped, may be three times as long. Default: 512 KiB.
    public var maximumBodySize = 512 << 10
    /// The largest head of a request in bytes. Default: 16 KiB.
    public var maximumHeadSize = 16 << 10
    /// The longest path with its query in bytes; more is answered 414. Default: 8 KiB.
    public var maximumURLSize = 8 << 10
    /// The most requests at work at a time; a further one is answered 503. Default: 1,000.
    public var maximumRequests = 1_000
    /// The most connections. Default: 1,000.
    public var maximumConnections = 1_000
    /// The most sessions of an endpoint, each with a connection of its own to the ensemble; a further one is answered 503.
    /// Default: 100.
    public var maximumSessions = 100
    /// The most queues of an endpoint that are served; a further one is answered 503. Default: 100.
    public var maximumQueues = 100
    /// The most messages of a queue that are leased over HTTP at a time; more are answered 429. Default: 1,000.
    public var maximumLeases = 1_000
    /// How long the body of a request may take to arrive; then it is answered 408, and two seconds later its connection is
    /// closed. Default: 10 seconds.
    public var bodyTimeout = Duration.seconds(10)
    /// How long the ensemble may take to answer; then a request is answered 504, or 503 when no server is connected. Default:
    /// 10 seconds.
    public var answerTimeout = Duration.seconds(10)
    /// How long a connection may be idle, or may take for the head of a request, however slowly that comes. Default: a minute.
    public var idleTimeout = Duration.seconds(60)

    /// Creates a configuration; what else there is can be set.
    public init(
        host: String = "127.0.0.1", port: Int = 9_998, endpoints: [Endpoint], users: [String: String] = [:],
        tls: TLS? = nil
    ) {
        self.host = host
        self.port = port
        self.endpoints = endpoints
        self.users = users
        self.tls = tls
    }

    func validate() throws {
        func require(_ condition: Bool, _ message: String) throws {
            if !condition { throw GatewayError(description: message) }
        }
        try require((0...65_535).contains(port), "A port is a number from 0 to 65535; \(port) is not.")
        try require(!endpoints.isEmpty, "A gateway needs an endpoint.")
        try require(Set(endpoints.map(\.path)).count == endpoints.count, "Two endpoints have the same path.")
        for endpoint in endpoints where endpoint.path != "/" {
            let isGood =
                endpoint.path.hasPrefix("/") && !endpoint.path.hasSuffix("/")
                && endpoint.path.utf8.allSatisfy { URLText.isPlain($0) || $0 == UInt8(ascii: "/") }
            try require(isGood, "An endpoint's path is / or such as /orders; \(endpoint.path) is not.")
        }
        for (name, _) in endpoints.reduce(into: users, { $0.merge($1.users) { $1 } }) {
            try require(!name.utf8.contains(UInt8(ascii: ":")), "A user's name cannot have a colon.")
        }
        for name in allowedHosts where name != "*" {
            try require(
                !name.isEmpty && name.utf8.allSatisfy(URLText.isPlain),
                "An allowed host is a name without a port, such as queue.example.com; \(name) is not.")
        }
        let limits = [
            maximumBodySize, maximumHeadSize, maximumURLSize, maximumRequests, maximumConnections, maximumSessions,
            maximumQueues, maximumLeases,
        ]
        try require(limits.allSatisfy { $0 > 0 }, "The limits of a gateway are above 0.")
        try require(
            [bodyTimeout, answerTimeout, idleTimeout].allSatisfy { $0 > .zero && $0 <= .seconds(86_400) },
            "The times of a gateway are above 0, and at most a day.")
    }
}

/// Why a gateway could not be made, or could not serve.
public struct GatewayError: Error, Sendable, CustomStringConvertible {
    /// What is wrong and what to do.
    public let description: String
}
