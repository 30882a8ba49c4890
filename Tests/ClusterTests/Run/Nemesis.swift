import Foundation
import ZooKeeperServer

/// Makes things go wrong, one after the other, and puts each right again.
struct Nemesis {
    let site: TestCluster
    let pool: WorkerPool
    private let durability: Durability
    let sessionTimeout: Duration
    var generator: any RandomNumberGenerator
    /// What was measured: a name, and how long it took.
    private(set) var elections: [(what: String, took: Duration)] = []
    /// When each disturbance began, by the clock of histories.
    private(set) var moments: [(what: ClusterFault, time: Int64)] = []

    init(
        site: TestCluster, pool: WorkerPool, durability: Durability, sessionTimeout: Duration,
        generator: any RandomNumberGenerator
    ) {
        self.site = site
        self.pool = pool
        self.durability = durability
        self.sessionTimeout = sessionTimeout
        self.generator = generator
    }

    private mutating func random(_ range: Range<Int>) -> Int { Int.random(in: range, using: &generator) }

    /// Does something that is no fault, and says how long it took.
    mutating func measured<Result>(_ what: String, _ body: () async throws -> Result) async throws -> Result {
        say("  \(what)", terminator: " ")
        let start = ContinuousClock.now
        let result = try await body()
        say((ContinuousClock.now - start).inSeconds)
        return result
    }

    mutating func perform(_ disturbance: ClusterFault) async throws {
        say("  \(disturbance)", terminator: " ")
        moments.append((disturbance, HistoryFile.milliseconds()))
        let start = ContinuousClock.now
        switch disturbance {
        case .killFollower: try await restart(site.follower(), as: disturbance)
        case .killLeader: try await restart(site.leader(), as: disturbance)
        case .killRandomServer: try await restart(random(0..<site.count), as: disturbance)
        case .wipeServer: try await wipe()
        case .stopLeader: try await stopLeader()
        case .rollingRestart: for server in 0..<site.count { try await restart(server, as: disturbance, down: .zero) }
        case .majorityDown: try await majorityDown()
        case .diskFull: try await fillDisk()
        case .cutClients: try await change(random(0..<site.count), to: .cut, for: sessionTimeout * 3 / 2)
        case .slowClients:
            for cable in site.cables { cable.become(.slow(100)) }
            try await pass(.seconds(3))
            for cable in site.cables { cable.become(.whole) }
        case .resetAfterRequest:
            for _ in 0..<5 {
                for cable in site.cables { cable.become(.deaf) }
                try await pass(.milliseconds(random(20..<200)))
                for cable in site.cables {
                    cable.reset()
                    cable.become(.whole)
                }
                try await pass(.milliseconds(300))
            }
        case .isolateLeader: try await isolate(site.leader())
        case .isolateFollower: try await isolate(site.follower())
        case .killProducer: try await kill(.producer)
        case .killConsumer: try await kill(.consumer)
        case .killRecovery: try await kill(.recovery)
        case .stopWorkers: try await stopWorkers()
        case .cutAllClients:
            for cable in site.cables { cable.become(.cut) }
            try await pass(sessionTimeout * 3 / 2)
            for cable in site.cables {
                cable.become(.whole)
                cable.reset()
            }
        case .moveClock:
            if pool.preload == nil { throw TestCluster.Slow(description: "No C compiler for a clock that moves.") }
            for member in await pool.members where member.place % 2 == 1 { pool.moveClock(of: member) }
        }
        say((ContinuousClock.now - start).inSeconds)
    }

    /// Waits until these servers serve and have logged what was acknowledged, so that the next fault meets an ensemble that promises
    /// to bear it.
    func settle(_ servers: [Int]) async throws {
        try await site.becomesWhole(servers)
        var folders: [String] = []
        for server in servers { folders.append(await site.ensemble.dataFolder(server)) }
        try await durability.wait(for: folders)
    }

    private func settle() async throws { try await settle(Array(0..<site.count)) }

    /// How long something is wrong, or rests between two things, is a length of time and no event.
    private func pass(_ time: Duration) async throws { try await Task.sleep(for: time) }

    // MARK: Servers

    private mutating func restart(_ server: Int?, as what: ClusterFault, down: Duration = .seconds(2)) async throws {
        guard let server else { return }
        let led = await site.mode(server) == "leader"
        await site.ensemble.kill(server)
        if led { elections.append(("death of the leader", try await site.election(without: server))) }
        try await pass(down)
        try await site.ensemble.start(server)
        try await settle()
    }

    /// Only while the others are up and in step, and started again only when they have a leader.
    private mutating func wipe() async throws {
        try await settle()
        let server = random(0..<site.count)
        await site.ensemble.kill(server)
        try await site.ensemble.eraseData(server)
        _ = try await site.election(without: server)
        try await pass(.seconds(1))
        try await site.ensemble.start(server)
        try await settle()
    }

    private mutating func stopLeader() async throws {
        guard let leader = await site.leader() else { return }
        await site.ensemble.pause(leader)
        elections.append(("the leader was stopped", try await site.election(without: leader)))
        try await pass(.seconds(1))
        await site.ensemble.resume(leader)
        try await settle()
    }

    private mutating func majorityDown() async throws {
        let down = Array((0..<site.count).shuffled(using: &generator).prefix(site.count / 2 + 1))
        for server in down { await site.ensemble.kill(server) }
        try await pass(.seconds(random(1..<6)))
        // Started together: one alone waits for the others.
        let ensemble = site.ensemble
        try await withThrowingTaskGroup(of: Void.self) { group in
            for server in down { group.addTask { try await ensemble.start(server) } }
            try await group.waitForAll()
        }
        try await settle()
    }

    private mutating func fillDisk() async throws {
        guard let server = await site.follower() else { return }
        try await site.ensemble.fillDisk(server)
        try await pass(.seconds(3))
        await site.ensemble.kill(server)
        try await site.ensemble.start(server)
        try await settle()
    }

    private func isolate(_ server: Int?) async throws {
        guard let server else { return }
        site.isolate(server, .cut)
        try await pass(sessionTimeout * 3 / 2)
        site.isolate(server, .whole)
        try await settle()
    }

    private func change(_ server: Int, to condition: FaultyProxy.Condition, for time: Duration) async throws {
        site.cables[server].become(condition)
        try await pass(time)
        site.cables[server].become(.whole)
        site.cables[server].reset()
    }

    // MARK: Workers

    private mutating func kill(_ role: Worker.Role) async throws {
        // The first of each role is spared, so that its memory can be watched.
        let candidates = await pool.members.filter { $0.role == role && $0.place > 0 && $0.process.isRunning }
        guard let member = candidates.randomElement(using: &generator) else { return }
        try await pool.replace(member)
    }

    /// One of each role at once: for half a session timeout, one and a half, and three.
    private mutating func stopWorkers() async throws {
        for length in [sessionTimeout / 2, sessionTimeout * 3 / 2, sessionTimeout * 3] {
            var stopped: [WorkerPool.Member] = []
            for role in Worker.Role.allCases {
                let candidates = await pool.members.filter { $0.role == role && $0.process.isRunning }
                if let member = candidates.randomElement(using: &generator) { stopped.append(member) }
            }
            for member in stopped { pool.stop(member) }
            try await pass(length)
            for member in stopped { pool.resume(member) }
            try await pass(.seconds(1))
        }
    }
}

extension Duration {
    /// For a report.
    var inSeconds: String {
        let milliseconds = Int(self / .milliseconds(1))
        return "\(milliseconds / 1_000).\(String(milliseconds % 1_000 + 1_000).dropFirst()) s"
    }
}
