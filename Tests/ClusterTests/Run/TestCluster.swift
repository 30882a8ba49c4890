import Foundation
import ZooKeeperServer

/// The servers of a run, with proxies between clients and servers and between the servers.
struct TestCluster: Sendable {
    let ensemble: LocalEnsemble
    /// The proxy from the clients to each server.
    let proxies: [FaultyProxy]
    /// The proxies from each server to each other server.
    private let links: Links

    static let tick = Duration.milliseconds(500)

    /// The connect string through the proxies, or the servers' own addresses when the servers are reconfigurable.
    var address: String {
        // Only the fixed servers have proxies, and they pass on to the secure ports if there are any.
        proxies.isEmpty ? ensemble.connectString : proxies.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }
    var count: Int { proxies.count }

    /// Runs `body` with servers that can join and leave, without proxies.
    static func withReconfigurableServers(
        servers: Int, heap: Int, transport: WorkerTransport, _ body: @Sendable (TestCluster) async throws -> Void
    ) async throws {
        var configuration = LocalEnsembleConfiguration(
            servers: servers, tickTime: tick, heapMegabytes: heap, settings: ["syncLimit": "6"])
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            try await body(TestCluster(ensemble: ensemble, proxies: [], links: Links()))
        }
    }

    /// Runs `body` with a fixed set of servers behind proxies.
    static func with(
        servers: Int, heap: Int, transport: WorkerTransport, _ body: @Sendable (TestCluster) async throws -> Void
    ) async throws {
        let links = Links()
        var configuration = LocalEnsembleConfiguration(
            servers: servers, tickTime: tick, heapMegabytes: heap,
            // Frequent snapshots, because restarts are to use them.
            settings: ["autopurge.purgeInterval": "1", "snapCount": "20000", "syncLimit": "6"])
        configuration.usesTLS = transport == .tls
        configuration.peerPort = { server, peer, port in try links.add(from: server, to: peer, port) }
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let proxies = try (ensemble.securePorts ?? ensemble.ports).map { try FaultyProxy(to: $0) }
            try await body(TestCluster(ensemble: ensemble, proxies: proxies, links: links))
        }
    }

    /// Changes the condition of all connections between a server and the other servers.
    func isolate(_ server: Int, _ condition: FaultyProxy.Condition) {
        for proxy in links.of(server) {
            proxy.setCondition(condition)
            if condition == .healthy { proxy.reset() }
        }
    }

    // MARK: Roles

    func mode(_ server: Int) async -> String? { await ensemble.mode(server) }

    /// Returns the index of the leader, or `nil` when there is none.
    func leader() async -> Int? {
        for server in 0..<count where await mode(server) == "leader" { return server }
        return nil
    }

    func follower() async -> Int? {
        for server in 0..<count where await mode(server) == "follower" { return server }
        return nil
    }

    /// Waits for a leader other than `absent`.
    ///
    /// - Returns: the duration of the election.
    func election(without absent: Int? = nil) async throws -> Duration {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(120) {
            if let leader = await leader(), leader != absent { return ContinuousClock.now - start }
            // No event announces a change in another process.
            try await Task.sleep(for: .milliseconds(20))
        }
        throw Failure(description: "The ensemble did not elect a leader within two minutes.")
    }

    /// A failure of the servers or the machine, which proves nothing about the queue.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Waits until these servers serve clients and one of them leads.
    func waitUntilReady(_ servers: [Int]) async throws {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(120) {
            if await areReady(servers) { return }
            // No event announces a change in another process.
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Failure(description: "The servers were not ready within two minutes.")
    }

    /// Describes a server for the report of a failure: its mode, its files, and the end of its log.
    func description(of server: Int) async -> String {
        let folder = await ensemble.dataFolder(server)
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return """
            Server \(server): \(await mode(server) ?? "does not serve"); files \(files.sorted().joined(separator: ", "))
            \(await ensemble.logTail(server, bytes: 4_000))
            """
    }

    private func areReady(_ servers: [Int]) async -> Bool {
        var hasLeader = false
        for server in servers {
            guard let mode = await mode(server) else { return false }
            if mode == "leader" { hasLeader = true }
        }
        return hasLeader
    }
}
