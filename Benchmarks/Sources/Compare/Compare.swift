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

    @Option(help: "Messages of the phases with many at a time.") var messages = 80_000
    @Option(help: "Messages of the phases with one at a time.") var ones = 6_000
    @Option(help: "The length of each payload in bytes.") var bytes = 100
    @Option(help: "Rounds, each against fresh servers.") var rounds = 3
    @Option(help: "The depth of a long queue.") var depth = 1_000_000
    @Option(parsing: .upToNextOption, help: "What to measure.") var scenarios: [Scenario] = Scenario.allCases
    @Option(help: "Where results.json, results.md and chart.svg go.") var output: String?

    func run() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "compare-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let parts = Scenarios(
            work: Work(messages: messages, ones: ones, bytes: bytes), folder: folder, depth: depth)
        let day = ISO8601DateFormatter.string(from: Date(), timeZone: .gmt, formatOptions: .withFullDate)
        var results = Results(date: day, machine: "\(ProcessInfo.processInfo.processorCount) shared cores")
        for peer in Peer.all where !peer.isInstalled { note("\(peer.name) is not installed, and left out") }
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
        let place = URL(filePath: output)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        try encoder.encode(results).write(to: place.appending(path: "results.json"))
        try Data(text.utf8).write(to: place.appending(path: "results.md"))
        try Data(Chart(results: results).svg.utf8).write(to: place.appending(path: "chart.svg"))
    }

    private func note(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
}
