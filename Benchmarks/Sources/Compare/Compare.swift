import ArgumentParser
import Foundation

/// Measures the queue, the C client's floor and the peers in one run, and prints the ratios.
@main
struct Compare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Measures the queue beside the C client's floor and its peers.")

    enum Scenario: String, CaseIterable, ExpressibleByArgument {
        case throughput, backlog, consumers, idle, memory, ensemble
    }

    @Option(help: "The number of messages in phases with many at a time.") var messages = 80_000
    @Option(help: "The number of messages in phases with one at a time.") var ones = 6_000
    @Option(help: "The length of each payload in bytes.") var bytes = 100
    @Option(help: "The number of rounds, each against new servers.") var rounds = 3
    @Option(help: "The number of messages in the deep queue.") var depth = 1_000_000
    @Option(parsing: .upToNextOption, help: "The scenarios to measure.")
    var scenarios: [Scenario] = Scenario.allCases
    @Option(help: "The folder for results.json, results.md and chart.svg.") var output: String?

    func run() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "compare-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let parts = Scenarios(
            work: Work(messages: messages, ones: ones, bytes: bytes), folder: folder, depth: depth)
        let day = ISO8601DateFormatter.string(from: Date(), timeZone: .gmt, formatOptions: .withFullDate)
        var results = Results(date: day, machine: "\(ProcessInfo.processInfo.processorCount) shared cores")
        for peer in Peer.all where !peer.isInstalled { note("\(peer.name) is not installed, so it is left out") }
        for round in 0..<rounds {
            for scenario in scenarios {
                // The long scenarios run only once.
                if round > 0, [.backlog, .memory, .idle].contains(scenario) { continue }
                note("round \(round + 1) of \(rounds): \(scenario.rawValue)")
                switch scenario {
                case .throughput: try await parts.throughput(round, &results)
                case .backlog: try await parts.backlog(&results)
                case .consumers: try await parts.consumers(&results)
                case .idle: try await parts.idle(&results)
                case .memory: try await parts.memory(&results)
                case .ensemble: try await parts.ensemble(&results)
                }
            }
        }
        try report(results)
    }

    private func report(_ results: Results) throws {
        let targets = Targets(results: results)
        let tables = [targets.lines, targets.rates, targets.requests].map { $0.joined(separator: "\n") }
        let text = "\(results.date), \(results.machine), \(rounds) rounds\n\n" + tables.joined(separator: "\n\n") + "\n"
        print(text)
        guard let output else { return }
        let folder = URL(filePath: output)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        try encoder.encode(results).write(to: folder.appending(path: "results.json"))
        try Data(text.utf8).write(to: folder.appending(path: "results.md"))
        try Data(Chart(results: results).svg.utf8).write(to: folder.appending(path: "chart.svg"))
    }

    private func note(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
}
