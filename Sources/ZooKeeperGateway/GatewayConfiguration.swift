import GatewayProtocol
public import ZooKeeper

/// Where a gateway listens, which ensembles it serves, and its limits. Every value but the endpoints has a default.
public struct GatewayConfiguration: Sendable {
    /// An ensemble, or a part of it, that the gateway serves below a path.
    public struct Endpoint: Sendable {
        /// The path in front of `/znodes/v1`, `/sessions/v1` and the other resources. `/` means that there is none.
        public var path: String
        /// How to connect to the ensemble, with a chroot and credentials if needed. Clients cannot reach anything
        /// outside the chroot.
        public var zookeeper: ZooKeeperConfiguration
        /// The users that the endpoint admits: passwords by user name, for HTTP basic authentication. When it is empty,
        /// the gateway's ``GatewayConfiguration/users`` apply.
        public var users: [String: String]

        /// Creates an endpoint.
        public init(path: String = "/", zookeeper: ZooKeeperConfiguration, users: [String: String] = [:]) {
            self.path = path
            self.zookeeper = zookeeper
            self.users = users
        }
    }

    /// A certificate and its private key, each in a PEM file.
    public struct TLS: Sendable, Hashable {
        /// The file with the certificate, and with the certificates that lead to a root.
        public var certificateChain: String
        /// The file with the private key.
        public var privateKey: String

        /// Creates a configuration from the paths of the two files.
        public init(certificateChain: String, privateKey: String) {
            self.certificateChain = certificateChain
            self.privateKey = privateKey
        }
    }

    /// The address to listen at. Default: 127.0.0.1, which serves this machine only.
    public var host: String
    /// The port; 0 is any free one. Default: 9998, the port of Apache's gateway.
    public var port: Int
    /// The endpoints to serve.
    public var endpoints: [Endpoint]
    /// The users of every endpoint that has no users: passwords by user name. When both are empty, the gateway admits
    /// every request.
    public var users: [String: String]
    /// The certificate for HTTPS. With `nil` (the default), the gateway speaks HTTP.
    public var tls: TLS?
    /// Whether the gateway serves `/extensions/v1`, which Apache's gateway lacks: transactions and watches, for clients
    /// that need the queue's full guarantee over HTTP. Default: `true`.
    public var offersExtensions = true
    /// The host names that requests may use.
    ///
    /// Addresses, ``host`` and names that no site can register (`localhost`, a single word, names below `.localhost`,
    /// `.local` and `.internal`) are always allowed. Other requests are answered with 421, because the page of another
    /// site could make the site's name point to the gateway (DNS rebinding). `*` allows any name. When the list is
    /// empty (the default), a gateway with ``tls``, or with users for each endpoint, serves any name, because neither
    /// lets such a page in.
    public var allowedHosts: [String] = []
    /// The program's version and commit, which `/health` and the OpenAPI document report. Default: `unknown`.
    public var version = "unknown"
    /// The maximum number of bytes of data in one request; a request with more is answered with 413. Only the data
    /// counts. A JSON body, which holds the data in base64 or escaped, may be three times as long. Default: 512 KiB.
    public var maximumBodySize = 512 << 10
    /// The largest header of a request in bytes. Default: 16 KiB.
    public var maximumHeaderSize = 16 << 10
    /// The longest path in bytes, including the query; a longer one is answered with 414. Default: 8 KiB.
    public var maximumURLSize = 8 << 10
    /// The maximum number of requests in progress; a further one is answered with 503. Default: 1,000.
    public var maximumRequests = 1_000
    /// The maximum number of connections. Default: 1,000.
    public var maximumConnections = 1_000
    /// The maximum number of sessions of an endpoint; a further one is answered with 503. Each session has a separate
    /// connection to the ensemble. Default: 100.
    public var maximumSessions = 100
    /// The maximum number of queues that an endpoint serves; a further one is answered with 503. Default: 100.
    public var maximumQueues = 100
    /// The maximum number of messages of a queue that are leased over HTTP; a request for more is answered with 429.
    /// Default: 1,000.
    public var maximumLeases = 1_000
    /// How long the body of a request may take to arrive. A late body is answered with 408, and its connection is
    /// closed two seconds later. Default: 10 seconds.
    public var bodyTimeout = Duration.seconds(10)
    /// How long the ensemble may take to answer. After that, the request is answered with 504, or with 503 when no
    /// server is connected. Default: 10 seconds.
    public var responseTimeout = Duration.seconds(10)
    /// How long a connection may be idle, or may take to deliver the header of a request, however slowly the bytes
    /// arrive. Default: one minute.
    public var idleTimeout = Duration.seconds(60)

    /// Creates a configuration. The other properties can be set afterwards.
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
        try require((0...65_535).contains(port), "The port must be from 0 to 65535, not \(port).")
        try require(!endpoints.isEmpty, "The gateway has no endpoint. Configure at least one.")
        try require(
            Set(endpoints.map(\.path)).count == endpoints.count,
            "Two endpoints have the same path. Give each endpoint its own path.")
        for endpoint in endpoints where endpoint.path != "/" {
            let isValid =
                endpoint.path.hasPrefix("/") && !endpoint.path.hasSuffix("/")
                && endpoint.path.utf8.allSatisfy { URLText.isUnreserved($0) || $0 == UInt8(ascii: "/") }
            try require(isValid, "The endpoint path \(endpoint.path) is not valid. Use / or a path such as /orders.")
        }
        for (name, _) in endpoints.reduce(into: users, { $0.merge($1.users) { $1 } }) {
            try require(!name.utf8.contains(UInt8(ascii: ":")), "A user name must not contain a colon.")
        }
        for name in allowedHosts where name != "*" {
            try require(
                !name.isEmpty && name.utf8.allSatisfy(URLText.isUnreserved),
                "The allowed host \(name) is not valid. Use a name without a port, such as queue.example.com.")
        }
        let limits: KeyValuePairs = [
            "maximumBodySize": maximumBodySize, "maximumHeaderSize": maximumHeaderSize,
            "maximumURLSize": maximumURLSize, "maximumRequests": maximumRequests,
            "maximumConnections": maximumConnections, "maximumSessions": maximumSessions,
            "maximumQueues": maximumQueues, "maximumLeases": maximumLeases,
        ]
        for (name, limit) in limits { try require(limit > 0, "\(name) must be at least 1, not \(limit).") }
        let timeouts: KeyValuePairs = [
            "bodyTimeout": bodyTimeout, "responseTimeout": responseTimeout, "idleTimeout": idleTimeout,
        ]
        for (name, timeout) in timeouts {
            try require(
                timeout > .zero && timeout <= .seconds(86_400),
                "\(name) must be more than zero and at most 1 day, not \(timeout).")
        }
    }
}

/// A setting with which a gateway cannot be created.
public struct GatewayError: Error, Sendable, CustomStringConvertible {
    /// What is wrong, and what to do.
    public let description: String
}
