import Foundation
import ZooKeeperServer

/// Injects faults, one after the other, and ends each before the next.
struct Nemesis {
    let cluster: TestCluster
    let pool: WorkerPool
    private let durability: Durability
    let sessionTimeout: Duration
    var generator: any RandomNumberGenerator
    /// The cause and the duration of each election.
    private(set) var elections: [(cause: String, duration: Duration)] = []
    /// The time at which each fault began, by the clock of the histories.
    private(set) var faultTimes: [(fault: ClusterFault, time: Int64)] = []

    init(
        cluster: TestCluster, pool: WorkerPool, durability: Durability, sessionTimeout: Duration,
        generator: any RandomNumberGenerator
    ) {
        self.cluster = cluster
        self.pool = pool
        self.durability = durability
        self.sessionTimeout = sessionTimeout
        self.generator = generator
    }

    private mutating func random(_ range: Range<Int>) -> Int { Int.random(in: range, using: &generator) }

    /// Runs `body`, and prints its name and its duration.
    mutating func measured<Result>(_ name: String, _ body: () async throws -> Result) async throws -> Result {
        printLine("  \(name)", terminator: " ")
        let start = ContinuousClock.now
        let result = try await body()
        printLine((ContinuousClock.now - start).inSeconds)
        return result
    }

    mutating func perform(_ fault: ClusterFault) async throws {
        printLine("  \(fault)", terminator: " ")
        faultTimes.append((fault, HistoryFile.milliseconds()))
        let start = ContinuousClock.now
        switch fault {
        case .killFollower: try await restart(cluster.follower())
        case .killLeader: try await restart(cluster.leader())
        case .killRandomServer: try await restart(random(0..<cluster.count))
        case .wipeServer: try await wipe()
        case .stopLeader: try await stopLeader()
        case .rollingRestart: for server in 0..<cluster.count { try await restart(server, down: .zero) }
        case .majorityDown: try await majorityDown()
        case .diskFull: try await fillDisk()
        case .cutClients: try await change(random(0..<cluster.count), to: .cut, for: sessionTimeout * 3 / 2)
        case .slowClients:
            for proxy in cluster.proxies { proxy.setCondition(.slow(100)) }
            try await wait(.seconds(3))
            for proxy in cluster.proxies { proxy.setCondition(.healthy) }
        case .resetAfterRequest:
            for _ in 0..<5 {
                for proxy in cluster.proxies { proxy.setCondition(.dropsResponses) }
                try await wait(.milliseconds(random(20..<200)))
                for proxy in cluster.proxies {
                    proxy.reset()
                    proxy.setCondition(.healthy)
                }
                try await wait(.milliseconds(300))
            }
        case .isolateLeader: try await isolate(cluster.leader())
        case .isolateFollower: try await isolate(cluster.follower())
        case .killProducer: try await kill(.producer)
        case .killConsumer: try await kill(.consumer)
        case .killRecovery: try await kill(.recovery)
        case .stopWorkers: try await stopWorkers()
        case .cutAllClients:
            for proxy in cluster.proxies { proxy.setCondition(.cut) }
            try await wait(sessionTimeout * 3 / 2)
            for proxy in cluster.proxies {
                proxy.setCondition(.healthy)
                proxy.reset()
            }
        case .moveClock:
            if pool.preload == nil {
                throw TestCluster.Failure(description: "There is no C compiler to build the library that moves clocks.")
            }
            for worker in await pool.workers where worker.index % 2 == 1 { pool.moveClock(of: worker) }
        }
        printLine((ContinuousClock.now - start).inSeconds)
    }

    /// Waits until these servers serve clients and have logged every acknowledged write. Only then does the ensemble
    /// promise to survive the next fault.
    func waitUntilStable(_ servers: [Int]) async throws {
        do {
            try await cluster.waitUntilReady(servers)
            var folders: [String] = []
            for server in servers { folders.append(await cluster.ensemble.dataFolder(server)) }
            try await durability.wait(for: folders)
        } catch let failure as TestCluster.Failure {
            for server in servers { printLine(await cluster.description(of: server)) }
            throw failure
        }
    }

    private func waitUntilStable() async throws { try await waitUntilStable(Array(0..<cluster.count)) }

    /// Waits for the duration of a fault, or for the pause between two faults. Neither ends with an event.
    private func wait(_ time: Duration) async throws { try await Task.sleep(for: time) }

    // MARK: Servers

    private mutating func restart(_ server: Int?, down: Duration = .seconds(2)) async throws {
        guard let server else { return }
        let wasLeader = await cluster.mode(server) == "leader"
        await cluster.ensemble.kill(server)
        if wasLeader { elections.append(("the leader was killed", try await cluster.election(without: server))) }
        try await wait(down)
        try await cluster.ensemble.start(server)
        try await waitUntilStable()
    }

    /// Erases the data of a server. Waits until all servers are up and have logged every acknowledged write before
    /// that, and starts the server again only when the other servers have a leader.
    private mutating func wipe() async throws {
        try await waitUntilStable()
        let server = random(0..<cluster.count)
        await cluster.ensemble.kill(server)
        try await cluster.ensemble.eraseData(server)
        _ = try await cluster.election(without: server)
        try await wait(.seconds(1))
        try await cluster.ensemble.start(server)
        try await waitUntilStable()
    }

    private mutating func stopLeader() async throws {
        guard let leader = await cluster.leader() else { return }
        await cluster.ensemble.pause(leader)
        elections.append(("the leader was stopped", try await cluster.election(without: leader)))
        try await wait(.seconds(1))
        await cluster.ensemble.resume(leader)
        try await waitUntilStable()
    }

    private mutating func majorityDown() async throws {
        let down = Array((0..<cluster.count).shuffled(using: &generator).prefix(cluster.count / 2 + 1))
        for server in down { await cluster.ensemble.kill(server) }
        try await wait(.seconds(random(1..<6)))
        // The servers start together, because a server alone waits for the other ones.
        let ensemble = cluster.ensemble
        try await withThrowingTaskGroup(of: Void.self) { group in
            for server in down { group.addTask { try await ensemble.start(server) } }
            try await group.waitForAll()
        }
        try await waitUntilStable()
    }

    private mutating func fillDisk() async throws {
        guard let server = await cluster.follower() else { return }
        try await cluster.ensemble.fillDisk(server)
        try await wait(.seconds(3))
        await cluster.ensemble.kill(server)
        try await cluster.ensemble.start(server)
        try await waitUntilStable()
    }

    private func isolate(_ server: Int?) async throws {
        guard let server else { return }
        cluster.isolate(server, .cut)
        try await wait(sessionTimeout * 3 / 2)
        cluster.isolate(server, .healthy)
        try await waitUntilStable()
    }

    private func change(_ server: Int, to condition: FaultyProxy.Condition, for time: Duration) async throws {
        cluster.proxies[server].setCondition(condition)
        try await wait(time)
        cluster.proxies[server].setCondition(.healthy)
        cluster.proxies[server].reset()
    }

    // MARK: Workers

    private mutating func kill(_ role: Worker.Role) async throws {
        // The first process of each role is never killed, because its memory is compared at the end.
        let candidates = await pool.workers.filter { $0.role == role && $0.index > 0 && $0.process.isRunning }
        guard let worker = candidates.randomElement(using: &generator) else { return }
        try await pool.replace(worker)
    }

    /// Stops one process of each role, for half a session timeout, one and a half, and three.
    private mutating func stopWorkers() async throws {
        for length in [sessionTimeout / 2, sessionTimeout * 3 / 2, sessionTimeout * 3] {
            var stopped: [WorkerPool.WorkerProcess] = []
            for role in Worker.Role.allCases {
                let candidates = await pool.workers.filter { $0.role == role && $0.process.isRunning }
                if let worker = candidates.randomElement(using: &generator) { stopped.append(worker) }
            }
            for worker in stopped { pool.stop(worker) }
            try await wait(length)
            for worker in stopped { pool.resume(worker) }
            try await wait(.seconds(1))
        }
    }
}

extension Duration {
    /// The duration in seconds, with milliseconds, for the report.
    var inSeconds: String {
        let milliseconds = Int(self / .milliseconds(1))
        return "\(milliseconds / 1_000).\(String(milliseconds % 1_000 + 1_000).dropFirst()) s"
    }
}
