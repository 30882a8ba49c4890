/// What kind of local ensemble to start.
public struct LocalEnsembleConfiguration: Sendable {
    /// How many servers; one runs alone, three or more elect a leader. Default: 1.
    public var servers: Int
    /// The client port of the first server, the others' follow on it; `nil` takes free ports (the default).
    public var firstPort: Int?
    /// Where the data is kept; it stays when the ensemble stops. `nil` is a temporary folder that is deleted with the
    /// ensemble, also when this process is killed (the default).
    public var dataDirectory: String?
    /// ZooKeeper's unit of time. Session timeouts are between 2 and 20 ticks. Default: 2 seconds.
    public var tickTime: Duration
    /// The most memory of each server's heap, in megabytes. Default: 512.
    public var heapMegabytes: Int
    /// Further lines of `zoo.cfg`.
    public var settings: [String: String]
    /// Further system properties of the Java process, such as `zookeeper.extendedTypesEnabled`.
    public var systemProperties: [String: String]
    /// Whether the servers' membership can be changed while they run, by anybody (`reconfigEnabled`, `skipACL`). Default: no.
    public var isReconfigurable = false

    /// For tests that cut servers off from each other: the port at which a server is told to find the port of another,
    /// by which followers follow their leader. Servers count from 0.
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

/// Why a local server could not be started.
public struct LocalServerError: Error, Sendable, CustomStringConvertible {
    /// What is wrong and what to do.
    public let description: String
}
