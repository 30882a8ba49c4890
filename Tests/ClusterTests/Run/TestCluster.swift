import ZooKeeperServer

/// The servers of a run, and the cables to them and between them.
struct TestCluster: Sendable {
    let ensemble: LocalEnsemble
    /// From the clients to each server.
    let cables: [FaultyProxy]
    /// From each server to each other one.
    private let links: Links

    static let tick = Duration.milliseconds(500)

    /// The servers' addresses for clients, through the cables. Servers whose membership changes are known by their own.
    var address: String {
        cables.isEmpty ? ensemble.connectString : cables.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }
    var count: Int { cables.count }

    /// Servers of which more can join, and all can leave, without cables.
    static func withChangingMembers(
        servers: Int, heap: Int, _ body: @Sendable (TestCluster) async throws -> Void
    ) async throws {
        var configuration = LocalEnsembleConfiguration(
            servers: servers, tickTime: tick, heapMegabytes: heap, settings: ["syncLimit": "6"])
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            try await body(TestCluster(ensemble: ensemble, cables: [], links: Links()))
        }
    }

    static func with(
        servers: Int, heap: Int, _ body: @Sendable (TestCluster) async throws -> Void
    ) async throws {
        let links = Links()
        var configuration = LocalEnsembleConfiguration(
            servers: servers, tickTime: tick, heapMegabytes: heap,
            // Snapshots now and then, so that restarts use them.
            settings: ["autopurge.purgeInterval": "1", "snapCount": "20000", "syncLimit": "6"])
        configuration.peerPort = { server, peer, port in try links.add(from: server, to: peer, port) }
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let cables = try ensemble.ports.map { try FaultyProxy(to: $0) }
            try await body(TestCluster(ensemble: ensemble, cables: cables, links: links))
        }
    }

    /// Cuts a server off from all others, or mends that.
    func isolate(_ server: Int, _ condition: FaultyProxy.Condition) {
        for cable in links.of(server) {
            cable.become(condition)
            if condition == .whole { cable.reset() }
        }
    }

    // MARK: Roles

    func mode(_ server: Int) async -> String? { await ensemble.mode(server) }

    /// - Returns: `nil` when none leads.
    func leader() async -> Int? {
        for server in 0..<count where await mode(server) == "leader" { return server }
        return nil
    }

    func follower() async -> Int? {
        for server in 0..<count where await mode(server) == "follower" { return server }
        return nil
    }

    /// Waits until a server leads.
    ///
    /// - Returns: how long it took.
    func election(without absent: Int? = nil) async throws -> Duration {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(120) {
            if let leader = await leader(), leader != absent { return ContinuousClock.now - start }
            // Other processes' state can only be asked for.
            try await Task.sleep(for: .milliseconds(20))
        }
        throw Slow(description: "The ensemble has elected no leader within two minutes.")
    }

    /// Servers that do not come to do their work; that is nothing of the queue's.
    struct Slow: Error, CustomStringConvertible {
        let description: String
    }

    /// Waits until these servers serve.
    func becomesWhole(_ servers: [Int]) async throws {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(120) {
            if await areWhole(servers) { return }
            // Other processes' state can only be asked for.
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Slow(description: "The ensemble is not whole within two minutes.")
    }

    private func areWhole(_ servers: [Int]) async -> Bool {
        var hasLeader = false
        for server in servers {
            guard let mode = await mode(server) else { return false }
            if mode == "leader" { hasLeader = true }
        }
        return hasLeader
    }
}
