import QueueHistory

/// What a run has shown.
struct Report: Sendable {
    let memoryAtStart: [String: Int]

    func tell(
        _ history: [HistoryEvent], _ violations: [Violation], _ verdict: Verdict, _ disturber: Nemesis,
        sessionTimeout: Duration, memoryAtEnd: [String: Int]
    ) {
        say("  \(Figures(history, violations: violations))")
        say("  longest time in which no message moved: \(Self.longestPause(history))")
        for what in [ClusterFault.killFollower, .killLeader, .stopLeader] {
            let moments = disturber.moments
            let pauses = moments.indices.filter { moments[$0].what == what }.map { index in
                let next = index + 1 < moments.count ? moments[index + 1].time : .max
                return Self.pause(history, after: moments[index].time, before: next)
            }
            guard let longest = pauses.max() else { continue }
            say("  longest pause after \(what): \(longest) ms (session timeout \(sessionTimeout.inSeconds))")
        }
        for (what, all) in Dictionary(grouping: disturber.elections, by: \.what).sorted(by: { $0.key < $1.key }) {
            let longest = all.map(\.took).max() ?? .zero
            say("  the ensemble took up to \(longest.inSeconds) to elect: \(what)")
        }
        for (name, kilobytes) in memoryAtStart.sorted(by: { $0.key < $1.key }) {
            say(
                "  memory of \(name): \(kilobytes / 1_024) MB at first, \(memoryAtEnd[name].map { "\($0 / 1_024) MB at the end" } ?? "ended before the end")"
            )
        }
        for violation in violations.prefix(50) { say("  VIOLATION \(violation)") }
        if violations.count > 50 { say("  and \(violations.count - 50) more violations") }
        switch verdict {
        case .kept: say("  every promise was kept")
        case .serversFailed:
            say(
                "  NO JUDGEMENT: the servers have lost acknowledged writes, or do not agree, so that nothing follows for the queue"
            )
        case .broken: say("  FAILED")
        }
    }

    private static func moves(_ history: [HistoryEvent]) -> [Int64] {
        history.filter { [.sent, .delivered, .acknowledged].contains($0.kind) }.map(\.time)
    }

    private static func longestPause(_ history: [HistoryEvent]) -> String {
        let times = moves(history)
        let longest = zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? 0
        return "\(longest) ms"
    }

    /// The longest pause that begins within the ten seconds after a moment, before something else goes wrong.
    private static func pause(_ history: [HistoryEvent], after moment: Int64, before next: Int64) -> Int64 {
        let times = moves(history)
        let end = min(moment + 10_000, next)
        let pauses = zip(times, times.dropFirst()).filter { $0.0 >= moment - 100 && $0.0 < end }
        return pauses.map { $1 - $0 }.max() ?? 0
    }
}
