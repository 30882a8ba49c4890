import ArgumentParser
import Foundation
import ZooKeeperServer

/// Compares messages of groups with messages without groups, on one server.
@main
struct GroupLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group-load", abstract: "Measures what groups cost, and how fairly they take turns.")

    @Option(help: "The number of messages of a round.") var messages = 20_000
    @Option(help: "The number of keys of these messages.") var keys = 1_000
    @Option(help: "The number of consumers.") var consumers = 8
    @Option(help: "The number of rounds, in which both kinds of messages take turns.") var rounds = 3
    @Option(help: "The number of groups that have a message at the same time.") var live = 100_000
    @Option(help: "The number of messages of the long group.") var long = 100_000
    @Option(help: "The number of keys that are used once, one after the other; 0 for none.") var once = 0
    @Option(help: "A file for the table, which is also printed.") var output: String?

    func validate() throws {
        guard messages > 0, keys > 0, consumers > 0, rounds > 0, live > 0, long > 0, once >= 0 else {
            throw ValidationError("Each number must be at least 1, and --once at least 0.")
        }
    }

    func run() async throws {
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
        // Runs each kind of multi before the measurement, because a server runs slowly until its code is compiled.
        for keys in [nil, keys] {
            _ = try await GroupedQueue(servers: servers, path: "/warm-up", consumers: consumers)
                .rates(of: messages / 4, keys: keys)
        }
        var rates: [(single: GroupedQueue.Rates, grouped: GroupedQueue.Rates)] = []
        for round in 0..<rounds {
            rates.append(
                (
                    try await GroupedQueue(servers: servers, path: "/single\(round)", consumers: consumers)
                        .rates(of: messages, keys: nil),
                    try await GroupedQueue(servers: servers, path: "/grouped\(round)", consumers: consumers)
                        .rates(of: messages, keys: keys)
                ))
        }
        add(
            "| \(messages) messages, \(consumers) consumers | without groups | \(keys) groups | ratio |\n|---|---|---|---|"
        )
        for (name, rate) in [
            ("stored by 256 senders", \GroupedQueue.Rates.sent), ("received and acknowledged", \.received),
            ("stored and received at the same time", \.both),
        ] {
            let single = Self.median(rates.map { $0.single[keyPath: rate] })
            let grouped = Self.median(rates.map { $0.grouped[keyPath: rate] })
            let ratio = (grouped / single).formatted(.number.precision(.fractionLength(2)))
            add("| \(name) | \(Int(single))/s | \(Int(grouped))/s | \(ratio) |")
        }

        add("\n| figure | measured |\n|---|---|")
        let many = GroupedQueue(servers: servers, path: "/many", consumers: consumers)
        let manyRates = try await many.rates(of: live, keys: live)
        add("| \(live) groups with one message each: stored | \(Int(manyRates.sent))/s |")
        add("| the same: received and acknowledged | \(Int(manyRates.received))/s |")
        let fair = GroupedQueue(servers: servers, path: "/fair", consumers: 1)
        let (delay, others) = try await fair.delay(behind: long)
        let milliseconds = Int(delay / .milliseconds(1))
        add("| a message of another group behind a group of \(long): received after | \(milliseconds) ms |")
        add("| the same: messages of the long group that were received in this time | \(others) |")
        if once > 0 {
            let spent = GroupedQueue(servers: servers, path: "/once", consumers: consumers)
            let (rate, nodes) = try await spent.nodesLeft(by: once)
            add("| \(once) keys, each used once: stored and received | \(Int(rate))/s |")
            add("| the same: nodes left below groups | \(nodes) |")
        }
        let day = Date.now.formatted(.iso8601.year().month().day())
        add(
            "\n\(day), \(ProcessInfo.processInfo.processorCount) shared cores, one server, medians of \(rounds) rounds."
        )
        return text
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
