#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Real ZooKeeper servers on loopback, as child processes. For development, demonstrations and tests.
///
/// The servers run from Debian's package `zookeeper`, or from the jars in the environment variable
/// `ZOOKEEPER_CLASSPATH`. When this process ends without stopping them, even by SIGKILL, they end too and
/// their temporary data is deleted.
public actor LocalEnsemble {
    /// The client addresses of the initial servers: `127.0.0.1:port,…`.
    public nonisolated let connectString: String
    /// The client ports of the initial servers.
    public nonisolated let ports: [Int]
    /// The addresses for encrypted connections to the initial servers. `nil` without
    /// ``LocalEnsembleConfiguration/usesTLS``.
    public nonisolated let secureConnectString: String?
    /// The ports for encrypted connections to the initial servers.
    package nonisolated let securePorts: [Int]?
    /// The certificates for encrypted connections, once the servers were started.
    public nonisolated let certificates: LocalCertificates?
    private var servers: [LocalServer]
    private var members: [LocalMember]
    private var chooser: PortChooser
    private let configuration: LocalEnsembleConfiguration
    private let directory: LocalDirectory
    private let installation: Installation

    /// Creates an ensemble: chooses ports and writes the servers' configuration. Starts no server.
    ///
    /// - Throws: ``LocalServerError``, for example when Java or ZooKeeper is missing, or a port is taken.
    public init(_ configuration: LocalEnsembleConfiguration = .init()) throws {
        guard (1...9).contains(configuration.servers) else {
            throw LocalServerError(description: "An ensemble must have 1 to 9 servers, not \(configuration.servers).")
        }
        let installation = try Installation()
        var chooser = PortChooser()
        let ports = try (0..<configuration.servers).map { index in
            try configuration.firstPort.map { try chooser.reserve($0 + index) } ?? chooser.free()
        }
        let members = try ports.enumerated().map {
            try LocalMember(id: $0 + 1, port: $1, isSecure: configuration.usesTLS, chooser: &chooser)
        }
        let directory = try LocalDirectory(configuration.dataDirectory)
        // In the folder of a server, which is deleted even when this process is killed.
        let certificates =
            configuration.usesTLS
            ? configuration.sharedCertificates ?? LocalCertificates(in: directory.path + "/server-1/tls") : nil
        self.certificates = certificates
        securePorts = configuration.usesTLS ? members.compactMap(\.securePort) : nil
        secureConnectString = securePorts?.map { "127.0.0.1:\($0)" }.joined(separator: ",")
        self.directory = directory
        self.members = members
        self.chooser = chooser
        self.configuration = configuration
        self.installation = installation
        self.ports = ports
        connectString = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
        servers = try members.map {
            try LocalServer(
                $0, of: members, configuration: configuration, directory: directory, installation: installation,
                certificates: certificates)
        }
    }

    /// Starts an ensemble, passes it to `body`, and stops it when `body` has returned or thrown.
    public static func withEnsemble<Result>(
        _ configuration: LocalEnsembleConfiguration = .init(), _ body: (LocalEnsemble) async throws -> Result
    ) async throws -> Result {
        let ensemble = try LocalEnsemble(configuration)
        do {
            try await ensemble.start()
            let result = try await body(ensemble)
            await ensemble.stop()
            return result
        } catch {
            await ensemble.stop()
            throw error
        }
    }

    /// Starts another server, which copies the data of the current ones but is not part of the ensemble yet. The
    /// ensemble must be reconfigurable and have a leader.
    ///
    /// - Returns: The server's index, and its definition for `reconfigure` of `ZooKeeperClient`.
    package func join() async throws -> (index: Int, member: String) {
        let member = try LocalMember(
            id: members.count + 1, port: try chooser.free(), isSecure: configuration.usesTLS, chooser: &chooser)
        let server = try LocalServer(
            member, of: members + [member], configuration: configuration, directory: directory,
            installation: installation, certificates: certificates)
        members.append(member)
        servers.append(server)
        try await start(servers.count - 1)
        return (servers.count - 1, "server.\(member.id)=\(member.address)")
    }

    /// The number of initial servers.
    public nonisolated var count: Int { ports.count }

    /// Starts every server that does not run. Returns when all of them respond, which means that there is a leader.
    ///
    /// - Throws: ``LocalServerError`` with the end of the server's log when a server ends, or
    ///   does not respond within a minute.
    public func start() async throws {
        try await certificates?.make()
        for server in servers { try await server.start() }
        for server in servers { try await server.waitUntilServing() }
    }

    /// Starts one server. Returns when it responds, which requires a majority of the ensemble.
    ///
    /// - Throws: ``LocalServerError`` with the end of the server's log when the server ends, or
    ///   does not respond within a minute.
    public func start(_ index: Int) async throws {
        try await servers[index].start()
        try await servers[index].waitUntilServing()
    }

    /// Kills one server with SIGKILL. Its data stays.
    public func kill(_ index: Int) async { await servers[index].kill() }

    /// Stops one server with SIGSTOP. Returns when the process has stopped. Its
    /// connections stay open and do not respond.
    public func pause(_ index: Int) async { await servers[index].pause() }

    /// Continues a paused server.
    public func resume(_ index: Int) async { await servers[index].resume() }

    /// Deletes a server's data.
    ///
    /// Kill the server first. Start it again only when the other servers have a leader: it has forgotten its promises,
    /// and could vote for a server that lacks committed writes.
    ///
    /// - Throws: ``LocalServerError`` when the server runs.
    public func eraseData(_ index: Int) async throws { try await servers[index].eraseData() }

    /// Returns the folder of a server's snapshots and logs.
    package func dataFolder(_ index: Int) async -> String { await servers[index].dataFolder }

    /// Returns the end of a server's log.
    package func logTail(_ index: Int, bytes: Int) async -> String { await servers[index].logTail(bytes: bytes) }

    /// Makes a server's disk appear full until the server is killed and started again.
    package func fillDisk(_ index: Int) async throws { try await servers[index].limitFileSize(1) }

    /// Returns the mode that a server reports: `leader`, `follower` or `standalone`. `nil` when it does not serve.
    public func mode(_ index: Int) async -> String? { await servers[index].mode() }

    /// Kills all servers and deletes temporary data.
    public func stop() async {
        for server in servers { await server.kill() }
        directory.remove()
    }
}
