import ArgumentParser
import Foundation
import ZooKeeperQueue
import ZooKeeperServer

/// Measures how late delayed messages are received, with one recovery and one consumer on one server.
@main
struct DelayLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delay-load", abstract: "Measures how late delayed messages are received.")

    @Option(help: "The number of messages with random delays of 1 ms to 3 s on an idle queue.") var random = 300
    @Option(help: "The number of delayed messages that are due within one second.") var burst = 10_000
    @Option(help: "The number of delayed messages beside these, which are due an hour later.") var others = 90_000
    @Option(help: "The number of messages that are due within a year. It can take minutes to store them.") var year = 0
    @Option(help: "The seed of the random delays.") var seed: UInt64 = 1
    @Flag(help: "Skip the warm-up, whose messages are not measured.") var cold = false
    @Option(help: "A file for the table, which is also printed.") var output: String?

    func validate() throws {
        guard random > 0, burst > 0, others >= 0, year >= 0 else {
            throw ValidationError("--random and --burst must be at least 1, --others and --year at least 0.")
        }
    }

    func run() async throws {
        // As much heap as the deep queue of `compare` has.
        let table = try await LocalEnsemble.withEnsemble(.init(heapMegabytes: 3_072)) { ensemble in
            try await measure(ensemble.connectString)
        }
        if let output { try Data(table.utf8).write(to: URL(filePath: output)) }
    }

    private func measure(_ servers: String) async throws -> String {
        var text = ""
        func add(_ line: String) {
            print(line)
            text += line + "\n"
        }
        var generator = SeededGenerator(seed: seed)
        let delays = (0..<random).map { _ in Duration.milliseconds(Int.random(in: 1...3_000, using: &generator)) }
        if !cold { try await warmUp(servers, delays) }

        add("| figure | measured |\n|---|---|")
        let single = try await DelayedQueue(servers: servers, path: "/random").lateness(ofDelays: delays).sorted()
        for (name, percent) in [("median", 50), ("99th percentile", 99), ("maximum", 100)] {
            let lateness = Self.milliseconds(Self.percentile(percent, of: single))
            add("| \(random) messages, each delayed by 1 ms to 3 s: lateness, \(name) | \(lateness) |")
        }

        let many = try await DelayedQueue(servers: servers, path: "/burst").lateness(ofBurst: burst, beside: others)
        let what = "\(burst) of \(burst + others) messages, due within one second"
        add("| \(what): lateness of the last one received | \(Self.milliseconds(many[burst - 1])) |")

        if year > 0 {
            let now = EnsembleTime.wallClock
            let times = (0..<year).map { _ in
                now.advanced(by: .seconds(Int.random(in: 3_600..<365 * 86_400, using: &generator)))
            }
            let (storing, requests) = try await DelayedQueue(servers: servers, path: "/year").cost(of: times)
            add("| \(year) messages, due within a year: stored in | \(Int(storing / .seconds(1))) s |")
            let total = requests.values.reduce(0, +)
            let kinds = requests.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            add("| \(year) messages, due within a year: requests of an idle recovery in 10 s | \(total) (\(kinds)) |")
        }
        let day = Date.now.formatted(.iso8601.year().month().day())
        let machine = "\(ProcessInfo.processInfo.processorCount) shared cores"
        add("\n\(day), \(machine), one server, one recovery, one consumer, seed \(seed).")
        return text
    }

    /// Runs each kind of multi before the measurement, because a server runs slowly until its code is compiled.
    private func warmUp(_ servers: String, _ delays: [Duration]) async throws {
        let queue = DelayedQueue(servers: servers, path: "/warm-up")
        _ = try await queue.lateness(ofDelays: delays)
        _ = try await queue.lateness(ofBurst: max(1, burst / 10), beside: others / 10)
    }

    private static func percentile(_ percent: Int, of sorted: [Duration]) -> Duration {
        sorted[(sorted.count * percent + 99) / 100 - 1]
    }

    private static func milliseconds(_ duration: Duration) -> String { "\(Int(duration / .milliseconds(1))) ms" }
}
