#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Real ZooKeeper servers on loopback, as child processes: for development, demonstrations and tests.
///
/// They come from Debian's package `zookeeper` (or the jars that the environment variable `ZOOKEEPER_CLASSPATH` names).
/// When this process ends without stopping them, even by SIGKILL, they end too and their temporary data is deleted.
public actor LocalEnsemble {
    /// The clients' addresses of the first servers, `127.0.0.1:port,…`.
    public nonisolated let connectString: String
    /// The client port of each of them.
    public nonisolated let ports: [Int]
    private var servers: [LocalServer]
    private var members: [LocalMember]
    private var chooser: PortChooser
    private let configuration: LocalEnsembleConfiguration
    private let directory: LocalDirectory
    private let installation: Installation

    /// Chooses ports and writes the servers' configuration; starts nothing.
    ///
    /// - Throws: ``LocalServerError`` when Java or ZooKeeper is missing, or a port is taken.
    public init(_ configuration: LocalEnsembleConfiguration = .init()) throws {
        guard (1...9).contains(configuration.servers) else {
            throw LocalServerError(description: "An ensemble has 1 to 9 servers, not \(configuration.servers).")
        }
        let installation = try Installation()
        var chooser = PortChooser()
        let ports = try (0..<configuration.servers).map { index in
            try configuration.firstPort.map { try chooser.take($0 + index) } ?? chooser.free()
        }
        let members = try ports.enumerated().map { try LocalMember(id: $0 + 1, port: $1, chooser: &chooser) }
        let directory = try LocalDirectory(configuration.dataDirectory)
        self.directory = directory
        self.members = members
        self.chooser = chooser
        self.configuration = configuration
        self.installation = installation
        self.ports = ports
        connectString = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
        servers = try members.map {
            try LocalServer(
                $0, of: members, configuration: configuration, directory: directory, installation: installation)
        }
    }

    /// Starts an ensemble, gives it to `body`, and stops it when `body` has returned or thrown.
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

    /// Starts a further server, which learns what the others have stored, and is no member yet. The ensemble must be
    /// reconfigurable, and have a leader.
    ///
    /// - Returns: the server's index, and the member as ``ZooKeeperClient``'s `reconfigure` takes it.
    package func join() async throws -> (index: Int, member: String) {
        let member = try LocalMember(id: members.count + 1, port: try chooser.free(), chooser: &chooser)
        let server = try LocalServer(
            member, of: members + [member], configuration: configuration, directory: directory,
            installation: installation)
        members.append(member)
        servers.append(server)
        try await start(servers.count - 1)
        return (servers.count - 1, "server.\(member.id)=\(member.address)")
    }

    /// How many servers there were at first.
    public nonisolated var count: Int { ports.count }

    /// Starts every server that does not run, and returns when all of them answer, so that there is a leader.
    ///
    /// - Throws: ``LocalServerError`` with the end of the server's log when one ends or stays silent for a minute.
    public func start() async throws {
        for server in servers { try await server.start() }
        for server in servers { try await server.waitUntilServing() }
    }

    /// Starts one server, and returns when it answers; not before a majority of the ensemble runs.
    public func start(_ index: Int) async throws {
        try await servers[index].start()
        try await servers[index].waitUntilServing()
    }

    /// Kills one server with SIGKILL; its data stays.
    public func kill(_ index: Int) async { await servers[index].kill() }

    /// Stops one server with SIGSTOP, and returns when it has stopped: its connections stay and nothing answers.
    public func pause(_ index: Int) async { await servers[index].pause() }

    /// Lets a paused server go on.
    public func resume(_ index: Int) async { await servers[index].resume() }

    /// Deletes what a server has stored. It must have been killed, and the others must have a leader before it is
    /// started again: it has forgotten what it has promised, and could vote for one that lacks what is committed.
    public func eraseData(_ index: Int) async throws { try await servers[index].eraseData() }

    /// Where a server keeps its snapshots and logs.
    package func dataFolder(_ index: Int) async -> String { await servers[index].dataFolder }

    /// Makes a server's disk seem full, until it is killed and started again.
    package func fillDisk(_ index: Int) async throws { try await servers[index].limitFileSize(1) }

    /// What a server says of itself: `leader`, `follower`, `standalone`, or `nil` when it does not serve.
    public func mode(_ index: Int) async -> String? { await servers[index].mode() }

    /// Kills all servers and deletes temporary data.
    public func stop() async {
        for server in servers { await server.kill() }
        directory.remove()
    }
}
