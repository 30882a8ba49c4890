import ArgumentParser
import ZooKeeper
import ZooKeeperQueue

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Show each counter that can run out, its growth rate, and what happens at its limit. Warn of problems.")

    @OptionGroup var options: QueueOptions

    @Option(
        name: .customLong("for"), parsing: .unconditional,
        help: ArgumentHelp("The time over which to measure the rates.", valueName: "seconds"))
    var duration: Double = 5

    @Option(
        name: .customLong("server-config"),
        help: ArgumentHelp(
            "A server's configuration file (zoo.cfg) to check. Can be repeated.", valueName: "file"))
    var serverConfigurations: [String] = []

    @Flag(help: "Print one line of JSON.")
    var json = false

    func validate() throws { try check("--for", duration, from: 0.001, to: 3_600, unit: "seconds") }

    private struct Line: Encodable {
        let counter: String
        let value, end: Int
        let perSecond: Double
        let daysLeft: Double?
        let atTheEnd: String

        init(_ before: SequenceUsage, _ now: SequenceUsage, _ seconds: Double) {
            counter = now.kind.rawValue
            (value, end, atTheEnd) = (now.value, now.limit, now.onExhaustion)
            perSecond = max(0, Double(now.value - before.value) / seconds)
            daysLeft = perSecond > 0 ? max(0, Double(now.limit - now.value)) / perSecond / 86_400 : nil
        }

        var columns: [String] {
            let days = daysLeft.map { $0 >= 36_500 ? "centuries" : "\(($0 * 10).rounded() / 10) days" } ?? "-"
            return [counter, "\(value)", "\(end)", "\((perSecond * 10).rounded() / 10)", days, atTheEnd]
        }
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                let clock = ContinuousClock()
                let (before, start) = (try await queue.sequenceUsage(), clock.now)
                // A rate needs two measurements with time between them.
                try await clock.sleep(for: .seconds(duration))
                let (now, end) = (try await queue.sequenceUsage(), clock.now)
                let lines = zip(before, now).map { Line($0, $1, start.duration(to: end) / .seconds(1)) }
                if json {
                    for remark in try await remarks(queue, now) { StandardError.line(remark) }
                    return try StandardOutput.line(try JSON.line(lines))
                }
                let rows = [["counter", "value", "end", "a second", "left", "at the end"]] + lines.map(\.columns)
                let widths = (0..<5).map { column in rows.map { $0[column].count }.max() ?? 0 }
                for row in rows {
                    let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
                    try StandardOutput.line((cells + [row[5]]).joined(separator: "  "))
                }
                for remark in try await remarks(queue, now) { try StandardOutput.line(remark) }
            }
        }
    }

    /// How late a delayed message can become ready before the command warns. Recoveries are faster, except for the ten
    /// seconds in which one takes over from another one that has failed.
    private static let tolerableDelay = Duration.seconds(5)

    /// Returns the lines of the notes, which are no faults, and of the warnings.
    private func remarks(_ queue: MessageQueue, _ usage: [SequenceUsage]) async throws -> [String] {
        var notes: [String] = []
        var warnings: [String] = []
        // The clock is read first. A message that is counted after that and was due long before is late indeed.
        let clock = try await queue.readClock()
        let (statistics, capacity) = (try await queue.statistics(), try await queue.attributes().capacity)
        // An estimate from the measurements of the capacity card, per node.
        let nodes = statistics.ready + statistics.leased + statistics.delayed + statistics.deadLettered
        let heap = 370 * nodes + (statistics.bytes ?? 0)
        if statistics.ready > 1_000_000 || heap > 512 << 20 {
            warnings.append(
                "\(statistics.ready) messages are ready. The queue uses about \(heap >> 20) MB of each server's "
                    + "memory, and slows down its restart. See the article Capacity.")
        }
        if let messages = capacity.messages, statistics.ready > messages / 10 * 9 {
            warnings.append("the queue is nearly full: \(statistics.ready) of \(messages) messages are ready.")
        }
        if let most = capacity.bytes, let bytes = statistics.bytes, bytes > most / 10 * 9 {
            warnings.append("the queue is nearly full: it uses \(bytes) of \(most) bytes.")
        }
        if statistics.paused.contains(.send) {
            notes.append("sending is paused. To continue, run \"zkq resume --send\".")
        }
        if statistics.paused.contains(.consume) {
            let remedy = "To continue, run \"zkq resume --consume\"."
            if statistics.ready > 0 {
                warnings.append("consuming is paused, but messages are ready: \(statistics.ready). \(remedy)")
            } else {
                notes.append("consuming is paused. \(remedy)")
            }
        }
        if let late = statistics.nextDueAt?.duration(to: clock), late > Self.tolerableDelay {
            warnings.append(
                "a delayed message has been due for \(late.components.seconds) seconds, but no recovery has made it "
                    + "ready. Run a recovery, for example with \"zkq recover\".")
        }
        for sequence in usage where sequence.kind == .messages && sequence.value > sequence.limit {
            warnings.append(
                "the sequence numbers have passed their rollover threshold. Run a recovery, for example with "
                    + "\"zkq recover\".")
        }
        for node in try await queue.findUnusableNodes() {
            warnings.append("\(node.path) is skipped: \(node.reason). To fix it, \(node.reason.remedy).")
        }
        for file in serverConfigurations {
            warnings += try ServerConfiguration(file: file).warnings.map { "\(file): \($0)" }
        }
        // The servers behind a gateway are unknown here, because a gateway's address is not a list of servers.
        let servers = try? ZooKeeperConfiguration(servers: QueueOptions.servers(options.connect)).servers
        let addresses = servers?.split(separator: ",").map(String.init) ?? []
        for (server, version) in await ServerVersion.reported(by: addresses) {
            if let warning = version.warning { warnings.append("\(server): \(warning)") }
        }
        return notes.map { "note: \($0)" } + warnings.map { "warning: \($0)" }
    }
}
