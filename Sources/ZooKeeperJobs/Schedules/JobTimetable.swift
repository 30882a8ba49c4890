public import Foundation

/// The ticks of a ``JobSchedule``.
public struct JobTimetable: Sendable, Hashable {
    private enum Kind: Sendable, Hashable {
        case cron(CronExpression, TimeZone)
        case every(milliseconds: Int64)
    }
    private let kind: Kind

    /// The ticks of a cron expression: minute, hour, day of the month, month and day of the week.
    ///
    /// A field is `*`, a number, a range (`1-5`), a list (`1,15`) or a step (`*/10`). Months and days of the week can
    /// have English names (`mon-fri`). `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are short forms.
    ///
    /// When clocks go forward, a tick in the hour that does not exist happens at the end of that hour. When they go
    /// back, a tick in the repeated hour happens once, the first time. An expression whose hour is `*` goes on by
    /// elapsed time instead.
    ///
    /// ```swift
    /// let nightly = try JobTimetable.cron("0 3 * * *", timeZone: .gmt)
    /// ```
    ///
    /// - Throws: ``JobError/Code/invalidSchedule`` with the reason, also for an expression without any tick, such as
    ///   one for February 30.
    public static func cron(_ expression: String, timeZone: TimeZone) throws -> JobTimetable {
        let timetable = JobTimetable(kind: .cron(try CronExpression(expression), timeZone))
        guard timetable.tick(after: 0) != nil else {
            throw JobError(.invalidSchedule, "The cron expression \"\(expression.prefix(80))\" has no tick.")
        }
        return timetable
    }

    /// Ticks at equal intervals. They are multiples of the interval since 1970 in UTC, so all processes agree on them.
    ///
    /// - Parameter interval: at least a second.
    /// - Throws: ``JobError/Code/invalidSchedule``.
    public static func every(_ interval: Duration) throws -> JobTimetable {
        guard interval >= .seconds(1), interval <= JobName.longestTime else {
            throw JobError(.invalidSchedule, "An interval must be from one second to ten years, not \(interval).")
        }
        return JobTimetable(kind: .every(milliseconds: Int64(interval / .milliseconds(1))))
    }

    /// Returns the first tick after a time; `nil` when there is none within some years.
    public func tick(after date: Date) -> Date? {
        tick(after: Int64((date.timeIntervalSince1970 * 1_000).rounded(.down)))
            .map { Date(timeIntervalSince1970: Double($0) / 1_000) }
    }

    /// The same in milliseconds since 1970.
    func tick(after time: Int64) -> Int64? {
        switch kind {
        case .every(let interval): (time / interval + (time % interval < 0 ? 0 : 1)) * interval
        case .cron(let expression, let zone): CronClock(expression: expression, zone: zone).tick(after: time)
        }
    }
}
