import ArgumentParser
import Glibc
import QueueHistory
import ZooKeeper
import ZooKeeperServer

/// Runs the queue on real servers while servers, processes and networks fail, and checks every promise at the end.
@main
struct Faults: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "faults",
        abstract: "Runs the queue on real servers while servers, clients and the network fail.",
        subcommands: [Standard.self, Change.self, Soak.self, Worker.self])

    /// About six minutes.
    struct Standard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Each kind of fault at least once: about six minutes.")

        @Option(help: "The seed, which decides the order of the faults.")
        var seed = UInt64.random(in: 0...UInt64.max)
        @Option(help: "The number of servers.")
        var servers = Faults.servers
        @Option(
            help:
                "The number of messages that a node may hold in the second run. Default: 1 or 16, decided by the seed.")
        var maximumBatchSize: Int?

        @Option(help: "Only one of the two runs: legacy or everything.")
        var only: Part?
        @Option(help: "What connects the workers to the servers.")
        var transport = WorkerTransport.cclient

        enum Part: String, ExpressibleByArgument, CaseIterable { case legacy, everything }

        func run() async throws {
            var verdicts: [Verdict] = []
            if only != .everything { verdicts.append(try await legacyScenario()) }
            if only != .legacy { verdicts.append(try await everything()) }
            try verdicts.max()?.exit()
        }

        /// The scenario of the legacy Python client: messages are sent and checked while servers are killed, one after
        /// the other.
        private func legacyScenario() async throws -> Verdict {
            try await TestRun(
                title: "legacy client's scenario", servers: servers, messages: 500, rest: 60, transport: transport,
                isOrdered: true, seed: seed
            ).run { nemesis in
                let cycle = [ClusterFault.killRandomServer, .killLeader, .wipeServer]
                var done = 0
                while done < 40, await !nemesis.pool.haveExited(.producer) {
                    try await nemesis.perform(cycle[done % cycle.count])
                    done += 1
                    // Without a pause between two kills, the whole run would be an outage.
                    try await Task.sleep(for: .seconds(2))
                }
            }
        }

        private func everything() async throws -> Verdict {
            try await TestRun(
                title: "everything fails", servers: servers, producers: 3, consumers: 3, recoveries: 2,
                messages: 16_700, rest: 330, concurrency: 32,
                maximumBatchSize: maximumBatchSize ?? (seed.isMultiple(of: 2) ? 16 : 1), transport: transport,
                seed: seed
            ).run { nemesis in
                var generator = SeededGenerator(seed: seed)
                for fault in ClusterFault.allCases.shuffled(using: &generator) {
                    try await nemesis.perform(fault)
                }
            }
        }
    }

    /// The maintenance that an operator does over the years.
    struct Change: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Servers restart, join and are replaced until none of the original servers is left: about two minutes.")

        @Option(help: "A number that the report shows.")
        var seed = UInt64.random(in: 0...UInt64.max)
        @Option(help: "What connects the workers to the servers: cclient or nio.")
        var transport = WorkerTransport.cclient

        func run() async throws {
            try await TestRun(
                title: "the ensemble changes", servers: 3, producers: 2, consumers: 2, recoveries: 2, rest: 20,
                concurrency: 4, transport: transport, isReconfigurable: true, seed: seed
            ).run { nemesis in
                let address = nemesis.cluster.ensemble.connectString
                let configuration = try ZooKeeperConfiguration(servers: address)
                try await ZooKeeperClient.withClient(configuration: configuration, logger: TestRun.silent) {
                    client in
                    var servers = Array(0..<3)
                    try await nemesis.restartServers(servers)
                    try await nemesis.addServers(client, &servers)
                    try await nemesis.replaceServers(client, &servers)
                    try await nemesis.restartServers(servers)
                }
            }.exit()
        }
    }

    /// Runs for a given time.
    struct Soak: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Kills a server or a process every ten seconds, for a given time.")

        @Option(help: "The length of the run: 90s, 30m, 12h.", transform: Faults.duration)
        var duration = Swift.Duration.seconds(1_800)
        @Option(help: "The seed, which decides the order of the faults.")
        var seed = UInt64.random(in: 0...UInt64.max)
        @Option(help: "The number of servers.")
        var servers = Faults.servers
        @Option(
            parsing: .upToNextOption,
            help: "Injects only these faults, one after the other: --only isolateLeader stopLeader.")
        var only: [ClusterFault] = []

        func run() async throws {
            let duration = duration
            let only = only
            let verdict = try await TestRun(
                title: "soak of \(duration.inSeconds)", servers: servers, producers: 2, consumers: 3, recoveries: 2,
                rest: 50, concurrency: 4, seed: seed
            ).run { nemesis in
                var generator = SeededGenerator(seed: seed &+ 1)
                let end = ContinuousClock.now + duration
                var rest: [ClusterFault] = []
                while !only.isEmpty, ContinuousClock.now < end {
                    for fault in only { try await nemesis.perform(fault) }
                }
                while ContinuousClock.now < end {
                    let next = ContinuousClock.now + .seconds(10)
                    try await nemesis.perform(ClusterFault.kills.randomElement(using: &generator) ?? .killLeader)
                    // Another kind of fault fills the time that is left.
                    if rest.isEmpty {
                        rest = ClusterFault.allCases.filter { !ClusterFault.kills.contains($0) }
                            .shuffled(using: &generator)
                    }
                    if ContinuousClock.now < next, let other = rest.popLast() { try await nemesis.perform(other) }
                    // Limits the rate to one kill every ten seconds.
                    try await Task.sleep(until: next)
                }
            }
            try verdict.exit()
        }
    }

    /// Five servers, or three on a machine with little free memory.
    static var servers: Int {
        let bytes = sysconf(Int32(_SC_AVPHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        return bytes > 4 << 30 ? 5 : 3
    }

    private static func duration(_ text: String) throws -> Swift.Duration {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3_600]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int(text.dropLast()), number > 0 else {
            throw ValidationError("\(text) is not a duration. Use a form such as 90s, 30m or 12h.")
        }
        return .seconds(number * unit)
    }
}
