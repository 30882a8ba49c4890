import ArgumentParser
import Glibc
import QueueHistory
import ZooKeeper
import ZooKeeperServer

/// Runs the queue on real servers while servers, processes and networks fail, and judges what came of it.
@main
struct Faults: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "faults",
        abstract: "Runs the queue on real servers while they, its users and the network fail.",
        subcommands: [Standard.self, Change.self, Soak.self, Worker.self])

    /// About six minutes.
    struct Standard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Each kind of fault at least once: about six minutes.")

        @Option(help: "Decides the order of what goes wrong.")
        var seed = UInt64.random(in: 0...UInt64.max)
        @Option(help: "How many servers.")
        var servers = Faults.servers
        @Option(
            help: "How many messages a node may hold where everything fails; by default 1 or 16, as the seed has it.")
        var maximumBatchSize: Int?

        func run() async throws {
            // The scenario of the Python ancestor: elements are put and checked while a server is killed again and again.
            let ancestor =
                try await TestRun(
                    title: "ancestor's scenario", servers: servers, messages: 500, rest: 60, isOrdered: true, seed: seed
                ).run { disturber in
                    let cycle = [ClusterFault.killRandomServer, .killLeader, .wipeServer]
                    var done = 0
                    while done < 40, await !disturber.pool.haveEnded(.producer) {
                        try await disturber.perform(cycle[done % cycle.count])
                        done += 1
                        // Between two kills, so that not all of the run is an outage.
                        try await Task.sleep(for: .seconds(2))
                    }
                }
            let everything =
                try await TestRun(
                    title: "everything fails", servers: servers, producers: 3, consumers: 3, recoveries: 2,
                    messages: 16_700, rest: 330, concurrency: 32,
                    maximumBatchSize: maximumBatchSize ?? (seed.isMultiple(of: 2) ? 16 : 1), seed: seed
                ).run { disturber in
                    var generator = SeededGenerator(seed: seed)
                    for disturbance in ClusterFault.allCases.shuffled(using: &generator) {
                        try await disturber.perform(disturbance)
                    }
                }
            try max(ancestor, everything).exit()
        }
    }

    /// What an operator does with the servers over the years.
    struct Change: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Servers restart, join and are replaced until none of the first is left: about two minutes.")

        @Option(help: "Names the run.")
        var seed = UInt64.random(in: 0...UInt64.max)

        func run() async throws {
            try await TestRun(
                title: "the ensemble changes", servers: 3, producers: 2, consumers: 2, recoveries: 2, rest: 20,
                concurrency: 4, hasChangingMembers: true, seed: seed
            ).run { disturber in
                let servers = disturber.site.ensemble.connectString
                let configuration = try ZooKeeperConfiguration(servers: servers)
                try await ZooKeeperClient.withClient(configuration: configuration, logger: TestRun.silent) {
                    client in
                    var members = Array(0..<3)
                    try await disturber.restart(members)
                    try await disturber.grow(client, &members)
                    try await disturber.replace(client, &members)
                    try await disturber.restart(members)
                }
            }.exit()
        }
    }

    /// As long as asked.
    struct Soak: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Kills something every ten seconds, as long as asked.")

        @Option(help: "For how long: 90s, 30m, 12h.", transform: Faults.duration)
        var duration = Swift.Duration.seconds(1_800)
        @Option(help: "Decides the order of what goes wrong.")
        var seed = UInt64.random(in: 0...UInt64.max)
        @Option(help: "How many servers.")
        var servers = Faults.servers

        func run() async throws {
            let duration = duration
            let verdict = try await TestRun(
                title: "soak of \(duration.inSeconds)", servers: servers, producers: 2, consumers: 3, recoveries: 2,
                rest: 50, concurrency: 4, seed: seed
            ).run { disturber in
                var generator = SeededGenerator(seed: seed &+ 1)
                let end = ContinuousClock.now + duration
                var rest: [ClusterFault] = []
                while ContinuousClock.now < end {
                    let next = ContinuousClock.now + .seconds(10)
                    try await disturber.perform(ClusterFault.kills.randomElement(using: &generator) ?? .killLeader)
                    // In the time that is left, something else.
                    if rest.isEmpty {
                        rest = ClusterFault.allCases.filter { !ClusterFault.kills.contains($0) }
                            .shuffled(using: &generator)
                    }
                    if ContinuousClock.now < next, let other = rest.popLast() { try await disturber.perform(other) }
                    // A kill every ten seconds.
                    try await Task.sleep(until: next)
                }
            }
            try verdict.exit()
        }
    }

    /// Five servers, or three where memory is short.
    static var servers: Int {
        let bytes = sysconf(Int32(_SC_AVPHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        return bytes > 4 << 30 ? 5 : 3
    }

    private static func duration(_ text: String) throws -> Swift.Duration {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3_600]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int(text.dropLast()), number > 0 else {
            throw ValidationError("\(text) is no duration such as 90s, 30m or 12h.")
        }
        return .seconds(number * unit)
    }
}
