import ArgumentParser
import Foundation
import Histogram
import ZooKeeper
import ZooKeeperQueue

/// Puts load on a queue and prints a line of JSON for each phase.
@main
struct QueueLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-load", abstract: "Puts load on a queue, and prints what it reached.")

    @Option(help: "The ensemble.") var servers: String
    @Option(help: "The queue's path.") var queue = "/load"
    @Option(help: "Messages of the phases with many at a time.") var messages = 16_000
    @Option(help: "Messages of the phases with one at a time.") var ones = 2_000
    @Option(help: "The length of each payload in bytes.") var bytes = 100
    @Option(help: "How many tasks send or acknowledge at the same time.") var tasks = 256
    @Option(help: "How many messages a consumer holds; the library's default when it is not given.") var prefetch: Int?
    @Option(parsing: .upToNextOption, help: "What to do, in this order.") var phases: [Phase] = Phase.allCases

    func run() async throws {
        try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
            let load = Load(
                queue: try MessageQueue(zookeeper, path: queue), payload: [UInt8](repeating: 120, count: bytes),
                tasks: tasks)
            // The first calls open the session and make the queue: not measured.
            try await load.warmUp()
            for phase in phases { try await print(perform(phase, load)) }
        }
    }

    private func perform(_ phase: Phase, _ load: Load) async throws -> Figures {
        let one = Load(queue: load.queue, payload: load.payload, tasks: 1)
        switch phase {
        case .put: return try await timed(phase, messages) { try await load.put(messages) }
        case .take: return try await timed(phase, messages) { try await load.take(messages, prefetch: prefetch) }
        case .putOne: return try await timed(phase, ones) { try await one.put(ones) }
        case .takeOne: return try await timed(phase, ones) { try await one.take(ones, prefetch: 1) }
        case .handoff:
            let times = try await one.handOff(ones)
            return Figures(
                phase: phase.rawValue, messages: ones, p50: Double(times.valueAtPercentile(50)) / 1e9,
                p99: Double(times.valueAtPercentile(99)) / 1e9)
        }
    }

    private func timed(_ phase: Phase, _ count: Int, _ body: () async throws -> Void) async throws -> Figures {
        let start = ContinuousClock.now
        try await body()
        return Figures(phase: phase.rawValue, messages: count, seconds: start.duration(to: .now) / .seconds(1))
    }

    private func print(_ figures: Figures) throws {
        try FileHandle.standardOutput.write(contentsOf: JSONEncoder().encode(figures) + Data("\n".utf8))
    }
}
