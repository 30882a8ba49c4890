import Foundation

/// Finds the ticks of a cron expression in a time zone.
struct CronClock: Sendable {
    let expression: CronExpression
    let zone: TimeZone

    /// The longest time without a tick: February 29 can be eight years away, and on a given day of the week up to 40.
    private static let horizon = 41 * 366

    /// Returns the first tick after a time, in milliseconds since 1970; `nil` when there is none within 40 years.
    func tick(after time: Int64) -> Int64? {
        let second = Int(time >= 0 ? time / 1_000 : (time - 999) / 1_000)
        // Begins a day early, because the local time of a tick after a change can be earlier than now.
        let first = Self.day(of: second + offset(at: second)) - 1
        for number in first...first + Self.horizon where expression.matches(CivilDay(number: number)) {
            if let tick = ticks(onDay: number).first(where: { $0 > second }) { return Int64(tick) * 1_000 }
        }
        return nil
    }

    /// Returns the ticks of one local day, in seconds since 1970, in ascending order.
    private func ticks(onDay number: Int) -> [Int] {
        var ticks: Set<Int> = []
        for hour in expression.hours {
            for minute in expression.minutes {
                ticks.formUnion(moments(ofLocal: number * 86_400 + hour * 3_600 + minute * 60))
            }
        }
        return ticks.sorted()
    }

    /// Returns the moments of a local time, which is given as if it were UTC: usually one. A repeated time has two, and
    /// a skipped one has none.
    private func moments(ofLocal local: Int) -> [Int] {
        // The offsets on both sides of a change that is near. No zone's offset exceeds 15 hours.
        let (before, after) = (offset(at: local - 86_400), offset(at: local + 86_400))
        let moments = Set([before, after]).map { local - $0 }.filter { $0 + offset(at: $0) == local }.sorted()
        if let first = moments.first { return expression.everyHour ? moments : [first] }
        if expression.everyHour { return [] }
        // The time is skipped. The change is the first moment with the later offset, by halving the interval.
        var (earlier, later) = (local - max(before, after) - 1, local - min(before, after) + 1)
        while later - earlier > 1 {
            let middle = (earlier + later) / 2
            if offset(at: middle) == before { earlier = middle } else { later = middle }
        }
        return [later]
    }

    private func offset(at second: Int) -> Int {
        zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second)))
    }

    private static func day(of second: Int) -> Int { second >= 0 ? second / 86_400 : (second - 86_399) / 86_400 }
}
