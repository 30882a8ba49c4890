import ArgumentParser
import Foundation
import Histogram
import LoadSupport
import ZooKeeper
import ZooKeeperNIO
import ZooKeeperQueue

/// Puts load on a queue, and prints a line of JSON for each phase.
@main
struct QueueLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-load", abstract: "Puts load on a queue, and prints the figures of each phase.")

    @Option(help: "The connect string of the ensemble.") var servers: String
    @Option(help: "The queue's path.") var queue = "/load"
    @Option(help: "The number of messages in phases with many at a time.") var messages = 16_000
    @Option(help: "The number of messages in phases with one at a time.") var ones = 2_000
    @Option(help: "The length of each payload in bytes.") var bytes = 100
    @Option(help: "The number of messages that a node may hold.") var perNode = 1
    @Option(help: "The number of tasks that send at the same time.") var tasks = 256
    @Option(help: "The number of waiting consumers in the phase idle.") var consumers = 200
    @Option(help: "The number of messages that a consumer holds. Default: the library's.") var prefetch: Int?
    @Flag(help: "Connect by SwiftNIO instead of the C client.") var nio = false
    @Option(
        parsing: .upToNextOption,
        help: "Encrypt. The files of the trusted certificates, of the client's certificate, and of its key.")
    var tls: [String] = []
    @Flag(help: "Skip the warm-up, whose messages are not measured.") var cold = false
    @Option(parsing: .upToNextOption, help: "The phases to run, in this order.") var phases: [Phase]

    func run() async throws {
        let counts = RequestCounts()
        let transport: ZooKeeperTransport =
            tls.count == 3
            ? .nio(tls: .clientCertificate(chain: tls[1], key: tls[2], trust: tls[0])) : nio ? .nio : .cclient
        try await ZooKeeperClient.withClient(
            configuration: .init(servers: servers, transport: transport), metricsFactory: counts
        ) { client in
            let queue = try MessageQueue(client, path: self.queue)
            try await queue.createIfNeeded(.init(maximumBatchSize: perNode))
            let load = Load(queue: queue, payload: [UInt8](repeating: 120, count: bytes), tasks: tasks)
            if !cold { try await load.warmUp() }
            for phase in phases {
                _ = counts.take()
                let start = ContinuousClock.now
                var figures = try await perform(phase, load)
                if figures.seconds == nil { figures.seconds = start.duration(to: .now) / .seconds(1) }
                figures.requests = counts.take().filter { $0.value > 0 }
                figures.memory = Self.memory()
                let line = try JSONEncoder().encode(figures) + Data("\n".utf8)
                try FileHandle.standardOutput.write(contentsOf: line)
            }
        }
    }

    private func perform(_ phase: Phase, _ load: Load) async throws -> Figures {
        let one = Load(queue: load.queue, payload: load.payload, tasks: 1)
        var figures = Figures(phase: phase.rawValue, messages: messages)
        switch phase {
        case .put: try await load.put(messages)
        case .take: try await load.take(messages, prefetch: prefetch)
        case .putOne:
            try await one.put(ones)
            figures.messages = ones
        case .takeOne:
            try await one.take(ones, prefetch: 1)
            figures.messages = ones
        case .handoff:
            let times = try await one.handOff(ones)
            figures.messages = ones
            figures.p50 = Double(times.valueAtPercentile(50)) / 1e9
            figures.p99 = Double(times.valueAtPercentile(99)) / 1e9
        case .drain: (figures.messages, figures.seconds) = try await load.drain(prefetch: prefetch)
        case .stats:
            _ = try await load.queue.statistics()
            figures.messages = 1
        case .idle:
            figures.messages = consumers
            figures.notes = try await IdleCrowd(servers: servers, path: queue, count: consumers).measure(load)
        }
        return figures
    }

    private static func memory() -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return (line?.split(separator: " ").compactMap { Int($0) }.first ?? 0) / 1_024
    }
}
