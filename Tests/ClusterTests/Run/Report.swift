import QueueHistory

/// Prints the results of a run.
struct Report: Sendable {
    let memoryAtStart: [String: Int]

    func print(
        _ history: [HistoryEvent], _ violations: [Violation], _ verdict: Verdict, _ nemesis: Nemesis,
        sessionTimeout: Duration, memoryAtEnd: [String: Int]
    ) {
        printLine("  \(Summary(history, violations: violations))")
        printLine("  longest time in which no message moved: \(Self.longestPause(history))")
        for fault in [ClusterFault.killFollower, .killLeader, .stopLeader] {
            let faultTimes = nemesis.faultTimes
            let pauses = faultTimes.indices.filter { faultTimes[$0].fault == fault }.map { index in
                let next = index + 1 < faultTimes.count ? faultTimes[index + 1].time : .max
                return Self.pause(history, after: faultTimes[index].time, before: next)
            }
            guard let longest = pauses.max() else { continue }
            printLine("  longest pause after \(fault): \(longest) ms (session timeout \(sessionTimeout.inSeconds))")
        }
        for (cause, all) in Dictionary(grouping: nemesis.elections, by: \.cause).sorted(by: { $0.key < $1.key }) {
            let longest = all.map(\.duration).max() ?? .zero
            printLine("  longest election after \(cause): \(longest.inSeconds)")
        }
        for (name, kilobytes) in memoryAtStart.sorted(by: { $0.key < $1.key }) {
            printLine(
                "  memory of \(name): \(kilobytes / 1_024) MB at the start, \(memoryAtEnd[name].map { "\($0 / 1_024) MB at the end" } ?? "not running at the end")"
            )
        }
        for violation in violations.prefix(50) { printLine("  VIOLATION \(violation)") }
        if violations.count > 50 { printLine("  and \(violations.count - 50) more violations") }
        switch verdict {
        case .kept: printLine("  every promise was kept")
        case .serversFailed:
            printLine(
                "  NO VERDICT: the servers have lost acknowledged writes or do not agree, so the run proves nothing about the queue"
            )
        case .broken: printLine("  FAILED")
        }
    }

    /// Returns the times at which a message was stored, delivered or acknowledged.
    private static func progressTimes(_ history: [HistoryEvent]) -> [Int64] {
        history.filter { [.sent, .delivered, .acknowledged].contains($0.kind) }.map(\.time)
    }

    private static func longestPause(_ history: [HistoryEvent]) -> String {
        let times = progressTimes(history)
        let longest = zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? 0
        return "\(longest) ms"
    }

    /// Returns the longest pause that begins within ten seconds after the start of a fault, and before the next fault.
    private static func pause(_ history: [HistoryEvent], after start: Int64, before next: Int64) -> Int64 {
        let times = progressTimes(history)
        let end = min(start + 10_000, next)
        let pauses = zip(times, times.dropFirst()).filter { $0.0 >= start - 100 && $0.0 < end }
        return pauses.map { $1 - $0 }.max() ?? 0
    }
}
