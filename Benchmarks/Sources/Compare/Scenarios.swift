import Foundation
import ZooKeeperServer

/// The scenarios of a run. Each adds its figures for one round.
struct Scenarios {
    let work: Work
    let folder: String
    /// The number of messages in the deep queue.
    let depth: Int

    /// Measures every system with the same work, one after the other. Those on ZooKeeper share one server, and their
    /// order rotates from round to round.
    func throughput(_ round: Int, _ results: inout Results) async throws {
        let peers = Peer.all.filter { $0.isInstalled && $0.isOnZooKeeper }
        try await LocalEnsemble.withEnsemble(.init(heapMegabytes: 1_024)) { ensemble in
            let servers = ensemble.connectString
            try await warmUp(servers)
            _ = try await Ours.floorOfOnes(work, servers)
            let phases = ["put", "take", "put-one", "take-one", "handoff"]
            let turns: [(String, () async throws -> [Figures])] =
                [
                    (Ours.floor, { try await Ours.floor(work, servers, batch: 64) }),
                    (Ours.plain, { try await Ours.queue(work, servers, phases) }),
                    (Ours.single, { try await Ours.floorOfOnes(work, servers) }),
                    (
                        Ours.batched,
                        { try await Ours.queue(work, servers, ["put", "take"], path: "/many", perNode: 64) }
                    ),
                ] + peers.map { peer in (peer.name, { try await peer.run(work, servers, folder) }) }
            for turn in turns.indices {
                let (name, measure) = turns[(turn + round) % turns.count]
                results.add(name, try await measure())
            }
        }
        for peer in Peer.all where peer.isInstalled && !peer.isOnZooKeeper {
            let own = "\(folder)/\(peer.name.filter(\.isLetter))-\(round)"
            try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
            results.add(peer.name, try await peer.run(work, "", own))
        }
    }

    /// Runs each kind of multi before the measurement, because a server runs slowly until its code is compiled, and
    /// each kind of multi has separate code.
    private func warmUp(_ servers: String) async throws {
        for _ in 0..<2 {
            _ = try await Ours.floor(work, servers, batch: 64)
            _ = try await Ours.queue(work, servers, ["put", "take"])
        }
        _ = try await Ours.queue(work, servers, ["put", "take"], path: "/many", perNode: 64)
    }

    func backlog(_ results: inout Results) async throws {
        for (name, depth) in [("10,000 ready", 10_000), ("1,000,000 ready", depth)] {
            try await LocalEnsemble.withEnsemble(.init(heapMegabytes: 3_072)) { ensemble in
                let servers = ensemble.connectString
                try await warmUp(servers)
                let fill = Work(messages: depth, ones: 1, bytes: work.bytes)
                _ = try await Ours.queue(fill, servers, ["put"])
                let some = Work(messages: 10_000, ones: 1, bytes: work.bytes)
                results.add(name, try await Ours.queue(some, servers, ["put", "stats"], options: ["--cold"]))
                let more = Work(messages: min(depth, 60_000), ones: 1, bytes: work.bytes)
                results.add(name, try await Ours.queue(more, servers, ["take"], options: ["--cold"]))
            }
        }
    }

    func consumers(_ results: inout Results) async throws {
        try await LocalEnsemble.withEnsemble(.init(heapMegabytes: 1_024)) { ensemble in
            let servers = ensemble.connectString
            try await warmUp(servers)
            for (name, count) in [("1 consumer", 1), ("8 consumers", 8)] {
                let all = Work(messages: work.messages * 2, ones: 1, bytes: work.bytes)
                _ = try await Ours.queue(all, servers, ["put"])
                let shares = try await withThrowingTaskGroup(of: [Figures].self) { group in
                    for _ in 0..<count {
                        group.addTask { try await Ours.queue(all, servers, ["drain"], options: ["--cold"]) }
                    }
                    return try await group.reduce(into: []) { $0 += $1 }
                }
                results.add(name, [Self.combined(shares)])
            }
        }
    }

    private static func combined(_ shares: [Figures]) -> Figures {
        func sum(_ kind: String) -> Double { Double(shares.reduce(0) { $0 + ($1.requests?[kind] ?? 0) }) }
        let total = shares.map(\.messages).reduce(0, +)
        var all = Figures(phase: "drain", messages: total, seconds: shares.compactMap(\.seconds).max())
        let fairShare = Double(total) / Double(shares.count)
        all.notes = [
            "failed multis": sum("multi failed") / max(1, sum("multi")),
            "slowest": Double(shares.map(\.messages).min() ?? 0) / fairShare,
        ]
        return all
    }

    func idle(_ results: inout Results) async throws {
        try await LocalEnsemble.withEnsemble { ensemble in
            var figures = try await Ours.queue(work, ensemble.connectString, ["idle"])
            for index in figures.indices {
                let notes = figures[index].notes ?? [:]
                let reads = ["get", "children", "exists"].reduce(0) { $0 + (notes["\($1) for one message"] ?? 0) }
                figures[index].notes?["reads for one message"] = reads
            }
            results.add("idle", figures)
        }
    }

    /// Sends and consumes a tenth of the messages ten times in one process, whose memory must not grow with their
    /// number.
    func memory(_ results: inout Results) async throws {
        try await LocalEnsemble.withEnsemble(.init(heapMegabytes: 1_024)) { ensemble in
            let tenth = Work(messages: depth / 10, ones: 1, bytes: work.bytes)
            let phases = [[String]](repeating: ["put", "take"], count: 10).flatMap { $0 }
            let all = try await Ours.queue(tenth, ensemble.connectString, phases)
            var growth = Figures(phase: "growth", messages: depth, seconds: 0)
            let (first, last) = (all[1].memory ?? 1, all.last?.memory ?? 1)
            growth.notes = ["ratio": Double(last) / Double(first), "megabytes": Double(last)]
            results.add("memory", [growth])
        }
    }

    func ensemble(_ results: inout Results) async throws {
        try await LocalEnsemble.withEnsemble(.init(servers: 3, heapMegabytes: 1_024)) { ensemble in
            let servers = ensemble.connectString
            try await warmUp(servers)
            results.add(Ours.floor + ", 3 servers", try await Ours.floor(work, servers, batch: 64))
            let phases = ["put", "take", "put-one", "take-one"]
            results.add(Ours.plain + ", 3 servers", try await Ours.queue(work, servers, phases))
            results.add(
                Ours.batched + ", 3 servers",
                try await Ours.queue(work, servers, ["put", "take"], path: "/many", perNode: 64))
        }
    }
}
