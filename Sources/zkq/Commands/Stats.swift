import ArgumentParser
import ZooKeeperQueue

struct Stats: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print message counts by state, and what is paused.")

    @OptionGroup var options: QueueOptions

    @Flag(help: "Print one line of JSON.")
    var json = false

    private struct Line: Encodable {
        let ready, leased, partial, delayed, retrying, groups, dead, consumers: Int
        /// When the first delayed message is due, in milliseconds since 1970.
        let nextDueAt: Int64?
        let oldestAgeSeconds: Double?
        let bytes: Int?
        let paused: [String]

        private enum Key: String, CodingKey {
            case ready, leased, partial, delayed, retrying, nextDueAt, dead, consumers, oldestAgeSeconds, bytes
            case groups, paused
        }

        /// Encodes `null` for a missing value, so that every key is always there.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(ready, forKey: .ready)
            try container.encode(leased, forKey: .leased)
            try container.encode(partial, forKey: .partial)
            try container.encode(delayed, forKey: .delayed)
            try container.encode(retrying, forKey: .retrying)
            try container.encode(groups, forKey: .groups)
            try container.encode(nextDueAt, forKey: .nextDueAt)
            try container.encode(dead, forKey: .dead)
            try container.encode(consumers, forKey: .consumers)
            try container.encode(oldestAgeSeconds, forKey: .oldestAgeSeconds)
            try container.encode(bytes, forKey: .bytes)
            try container.encode(paused, forKey: .paused)
        }
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                let statistics = try await queue.statistics()
                let age = try await queue.oldestMessageAge().map { $0 / .milliseconds(1) / 1_000 }
                let line = Line(
                    ready: statistics.ready, leased: statistics.leased, partial: statistics.recovering,
                    delayed: statistics.delayed, retrying: statistics.retrying, groups: statistics.groups,
                    dead: statistics.deadLettered, consumers: statistics.consumers,
                    nextDueAt: statistics.nextDueAt?.millisecondsSince1970, oldestAgeSeconds: age,
                    bytes: statistics.bytes, paused: statistics.paused.map(\.rawValue).sorted())
                if json { return try StandardOutput.line(try JSON.line(line)) }
                try StandardOutput.line("ready      \(line.ready)")
                try StandardOutput.line("leased     \(line.leased)")
                try StandardOutput.line("partial    \(line.partial)")
                try StandardOutput.line("delayed    \(line.delayed)")
                try StandardOutput.line("retrying   \(line.retrying)")
                try StandardOutput.line("groups     \(line.groups)")
                try StandardOutput.line("next due   \(statistics.nextDueAt.map { Times.iso8601($0) } ?? "-")")
                try StandardOutput.line("dead       \(line.dead)")
                try StandardOutput.line("consumers  \(line.consumers)")
                try StandardOutput.line("oldest     \(age.map { "\($0) seconds" } ?? "-")")
                try StandardOutput.line("bytes      \(line.bytes.map { "\($0)" } ?? "-")")
                let paused = line.paused.isEmpty ? "-" : line.paused.joined(separator: ", ")
                try StandardOutput.line("paused     \(paused)")
            }
        }
    }
}
