/// The configuration of a local ensemble.
public struct LocalEnsembleConfiguration: Sendable {
    /// The number of servers, from 1 to 9. One server runs standalone, and three or more elect a leader. Default: 1.
    public var servers: Int
    /// The client port of the first server. The other servers use the following ports.
    /// Default: `nil`, which means free ports.
    public var firstPort: Int?
    /// The folder of the data, which stays when the ensemble stops. Default: `nil`, which means a temporary folder that
    /// is deleted with the ensemble, even when this process is killed.
    public var dataDirectory: String?
    /// ZooKeeper's unit of time. Session timeouts are between 2 and 20 ticks. Default: 2 seconds.
    public var tickTime: Duration
    /// The maximum heap size of each server in megabytes. Default: 512.
    public var heapMegabytes: Int
    /// Additional settings of `zoo.cfg`.
    public var settings: [String: String]
    /// Additional system properties of the Java process, such as `zookeeper.extendedTypesEnabled`.
    public var systemProperties: [String: String]
    /// Whether any client may reconfigure the ensemble while it runs (`reconfigEnabled`, `skipACL`). Default: false.
    public var isReconfigurable = false
    /// Whether the servers also accept TLS connections at ``LocalEnsemble/secureConnectString``, from clients with a
    /// certificate. ``LocalEnsemble/certificates`` has what a client needs. Requires Debian's package `libnetty-java`,
    /// and OpenSSL. Default: false.
    public var usesTLS = false

    /// Certificates of several ensembles with ``usesTLS``. The servers then accept TLS connections at their plain ports
    /// too, and do not ask for client certificates, because those would add an identity. For tests that choose the
    /// transport elsewhere.
    package var sharedCertificates: LocalCertificates?

    /// Replaces the quorum port in a server's configuration, at which it follows another server as its leader. For
    /// tests that disconnect servers from each other. The first two arguments are indices from 0.
    package var peerPort: (@Sendable (_ server: Int, _ peer: Int, _ port: Int) throws -> Int)?

    /// Creates a configuration.
    public init(
        servers: Int = 1, firstPort: Int? = nil, dataDirectory: String? = nil, tickTime: Duration = .seconds(2),
        heapMegabytes: Int = 512, settings: [String: String] = [:], systemProperties: [String: String] = [:]
    ) {
        self.servers = servers
        self.firstPort = firstPort
        self.dataDirectory = dataDirectory
        self.tickTime = tickTime
        self.heapMegabytes = heapMegabytes
        self.settings = settings
        self.systemProperties = systemProperties
    }
}

/// The reason why a local server could not be started or changed.
public struct LocalServerError: Error, Sendable, CustomStringConvertible {
    /// What failed and what to do.
    public let description: String
}
