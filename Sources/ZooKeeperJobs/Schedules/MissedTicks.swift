/// What a ``JobSchedule`` does with ticks that it missed: they are more than a minute late, because no process of the
/// schedule was running, or because no server responded.
public struct MissedTicks: Sendable, Hashable {
    enum Kind: Sendable, Hashable { case skip, latest, all }
    let kind: Kind

    /// They get no job.
    public static let skip = MissedTicks(kind: .skip)
    /// The latest of them gets a job.
    public static let latest = MissedTicks(kind: .latest)
    /// Each of them gets a job, in order.
    public static let all = MissedTicks(kind: .all)

    /// A tick that is later than this is missed. Others get a job in any case.
    private static let tolerance: Int64 = 60_000
    /// The most ticks that get a job in one transaction.
    static let maximumTicks = 64

    /// What to do at a time: the ticks that get a job now, and the last tick that is settled by that.
    struct Plan: Equatable {
        var ticks: [Int64] = []
        var last: Int64
    }

    /// Plans the ticks after the last settled one, up to now. All times are milliseconds since 1970.
    ///
    /// - Parameter maximum: the most ticks of the plan.
    func plan(
        after last: Int64, now: Int64, in timetable: JobTimetable, maximum: Int = Self.maximumTicks
    ) -> Plan {
        var plan = Plan(last: last)
        if kind != .all, let missed = Self.lastTick(after: last, upTo: now - Self.tolerance, in: timetable) {
            plan.last = missed
            if kind == .latest { plan.ticks = [missed] }
        }
        while plan.ticks.count < maximum, let tick = timetable.tick(after: plan.last), tick <= now {
            plan.ticks.append(tick)
            plan.last = tick
        }
        return plan
    }

    /// Returns the last tick in a span of time. There is no search backwards, so it begins shortly before the end, and
    /// earlier when it finds nothing there.
    private static func lastTick(after begin: Int64, upTo end: Int64, in timetable: JobTimetable) -> Int64? {
        guard end > begin else { return nil }
        var span: Int64 = 120_000
        while true {
            let start = max(begin, end - span)
            if var tick = timetable.tick(after: start), tick <= end {
                while let next = timetable.tick(after: tick), next <= end { tick = next }
                return tick
            }
            if start == begin { return nil }
            span *= 8
        }
    }
}
