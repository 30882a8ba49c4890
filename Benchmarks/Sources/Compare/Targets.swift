/// The targets and the results, as the tables of a report.
struct Targets {
    let results: Results

    var lines: [String] {
        var lines: [String] = []
        func add(_ what: String, _ asked: String, _ spread: Spread?, _ digits: Int = 2) {
            lines.append("| \(what) | \(asked) | \(spread?.text(digits) ?? "not measured") |")
        }
        let (floor, one) = (Ours.floor, Ours.single)
        add("1. put, 256 senders / floor", "≥ 0.6", results.ratio(Ours.plain, "put", to: floor))
        add("   put / RabbitMQ", "> 1", results.ratio(Ours.plain, "put", to: Peer.rabbit.name))
        add("   put, each awaited / C client", "≥ 0.9", results.ratio(Ours.plain, "put-one", to: one))
        add("2. take, each acknowledged / floor", "≥ 0.75", results.ratio(Ours.plain, "take", to: floor))
        add("   take / Curator", "≥ 20", results.ratio(Ours.plain, "take", to: Peer.curator.name), 0)
        add("3. take one at a time / C client's", "≥ 2", results.ratio(Ours.plain, "take-one", to: one))
        add("   take one at a time / RabbitMQ", "≈ 1", results.ratio(Ours.plain, "take-one", to: Peer.rabbit.name))
        add("4. take, 64 in a node / RabbitMQ", "≥ 0.7", results.ratio(Ours.batched, "take", to: Peer.rabbit.name))
        add("   take, 64 in a node / floor", "", results.ratio(Ours.batched, "take", to: floor))
        add("   put, 64 in a node / RabbitMQ", "", results.ratio(Ours.batched, "put", to: Peer.rabbit.name))
        add("5. hand-off, median / four round trips", "≤ 1.5", results.ratio(Ours.plain, "handoff", to: one) { $0.p50 })
        add("   hand-off, 99th percentile", "≤ 1.5", results.ratio(Ours.plain, "handoff", to: one) { $0.p99 })
        let (deep, shallow) = ("1,000,000 ready", "10,000 ready")
        let time = { (figures: Figures) in figures.seconds.map { $0 / Double(figures.messages) } }
        add("6. put at 1,000,000 / at 10,000 (time)", "≤ 1.5", results.ratio(deep, "put", to: shallow, nil, time))
        add("   take at 1,000,000 / at 10,000 (time)", "≤ 1.5", results.ratio(deep, "take", to: shallow, nil, time))
        add("   memory of that consumer, MB", "< 250", results.spread(deep, "take") { $0.memory.map(Double.init) }, 0)
        add("   stats, ms", "< 10", results.spread(deep, "stats") { $0.seconds.map { $0 * 1_000 } }, 1)
        add("7. eight consumers / one", "≥ 1", results.ratio("8 consumers", "drain", to: "1 consumer"))
        add(
            "   failed multis, %", "< 5",
            results.spread("8 consumers", "drain") { $0.notes?["failed multis"].map { $0 * 100 } }, 1)
        add("   slowest / fair share", "≥ 0.5", results.spread("8 consumers", "drain") { $0.notes?["slowest"] })
        for note in ["requests in 5 idle seconds", "reads for one message", "milliseconds to the message"] {
            add(
                "8. 200 idle consumers: \(note)", note.hasPrefix("reads") ? "≤ 5" : "",
                results.spread("idle", "idle") { $0.notes?[note] }, 0)
        }
        add(
            "9. memory after 1,000,000 / after 100,000", "≈ 1",
            results.spread("memory", "growth") { $0.notes?["ratio"] })
        let (ensemble, ensembleFloor) = (Ours.plain + ", 3 servers", floor + ", 3 servers")
        add("10. three servers: put / floor", "", results.ratio(ensemble, "put", to: ensembleFloor))
        add("    three servers: take / floor", "", results.ratio(ensemble, "take", to: ensembleFloor))
        return ["| target | asked | reached (spread over the rounds) |", "|---|---|---|"] + lines
    }

    /// The rate of each system, in messages a second.
    var rates: [String] {
        let phases = ["put", "put-one", "take", "take-one"]
        let names = results.figures.keys.sorted().filter { name in
            phases.contains { results.figures[name]?[$0] != nil }
        }
        return ["| messages a second | " + phases.joined(separator: " | ") + " |", "|---|---|---|---|---|"]
            + names.map { name in
                "| \(name) | "
                    + phases.map { results.spread(name, $0)?.text(0) ?? "–" }.joined(separator: " | ") + " |"
            }
    }

    /// The number of client requests that a message costs, by phase.
    var requests: [String] {
        ["| requests for a message | put | take |", "|---|---|---|"]
            + [Ours.plain, Ours.batched].map { name in
                let costs = ["put", "take"].map { phase in
                    results.spread(name, phase) { figures in
                        figures.requests.map { requests in
                            let sent = requests.filter { !$0.key.contains("failed") }.values.reduce(0, +)
                            return Double(sent) / Double(figures.messages)
                        }
                    }?.text(3) ?? "–"
                }
                return "| \(name) | \(costs.joined(separator: " | ")) |"
            }
    }
}
