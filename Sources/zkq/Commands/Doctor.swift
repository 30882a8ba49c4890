import ArgumentParser
import ZooKeeperQueue

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the counters of a queue and its ensemble, when each ends, and what it does then by itself.")

    @OptionGroup var options: QueueOptions

    @Option(name: .customLong("for"), help: ArgumentHelp("How long to measure the rates.", valueName: "seconds"))
    var duration: Double = 5

    @Flag(help: "As one line of JSON.")
    var json = false

    func validate() throws {
        guard duration > 0, duration <= 3_600 else {
            throw ValidationError("--for is a number of seconds above 0, and at most 3600.")
        }
    }

    private struct Line: Encodable {
        let counter: String
        let value, end: Int
        let perSecond: Double
        let daysLeft: Double?
        let atTheEnd: String

        init(_ before: QueueCounter, _ now: QueueCounter, _ seconds: Double) {
            counter = now.kind.rawValue
            (value, end, atTheEnd) = (now.value, now.end, now.remedy)
            perSecond = max(0, Double(now.value - before.value) / seconds)
            daysLeft = perSecond > 0 ? max(0, Double(now.end - now.value)) / perSecond / 86_400 : nil
        }

        var columns: [String] {
            let days = daysLeft.map { $0 >= 36_500 ? "centuries" : "\(($0 * 10).rounded() / 10) days" } ?? "-"
            return [counter, "\(value)", "\(end)", "\((perSecond * 10).rounded() / 10)", days, atTheEnd]
        }
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(settings: .init(createsQueue: false)) { queue in
                let clock = ContinuousClock()
                let (before, start) = (try await queue.counters(), clock.now)
                // A rate is what two looks differ in.
                try await clock.sleep(for: .seconds(duration))
                let (now, end) = (try await queue.counters(), clock.now)
                let lines = zip(before, now).map { Line($0, $1, start.duration(to: end) / .seconds(1)) }
                if json { return try StandardOutput.line(try JSON.line(lines)) }
                let rows = [["counter", "value", "end", "a second", "left", "at the end"]] + lines.map(\.columns)
                let widths = (0..<5).map { column in rows.map { $0[column].count }.max() ?? 0 }
                for row in rows {
                    let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
                    try StandardOutput.line((cells + [row[5]]).joined(separator: "  "))
                }
                let depth = try await queue.statistics().ready
                if depth > 1_000_000 {
                    try StandardOutput.line(
                        "warning: \(depth) messages are ready: each costs every server memory, and a restart time (see the "
                            + "capacity card)")
                }
                for counter in now where counter.kind == .messages && counter.value > counter.end {
                    try StandardOutput.line(
                        "warning: the numbers of messages are past the place where a recovery lets them begin anew: is one "
                            + "running?")
                }
            }
        }
    }
}
