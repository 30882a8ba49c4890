/// The five fields of a cron expression: the minutes, hours, days of the month, months and days of the week of its
/// ticks.
struct CronExpression: Sendable, Hashable {
    let minutes: Set<Int>
    let hours: Set<Int>
    let days: Set<Int>
    let months: Set<Int>
    /// 0 is Sunday.
    let weekdays: Set<Int>
    /// Whether the field of the hours is `*`. Such an expression ticks by elapsed time: in an hour that a change to
    /// standard time repeats, it ticks twice.
    let everyHour: Bool
    private let anyDay: Bool
    private let anyWeekday: Bool

    private static let monthNames = [
        "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
        "dec": 12,
    ]
    private static let weekdayNames = ["sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6]
    private static let shorthands = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]

    /// Reads an expression: five fields, or a shorthand such as `@daily`.
    ///
    /// - Throws: ``JobError`` with the reason.
    init(_ text: String) throws {
        let fields = (Self.shorthands[text] ?? text).split(separator: " ").map { String($0) }
        guard fields.count == 5 else {
            throw JobError(
                .invalidSchedule,
                "The cron expression \"\(text.prefix(80))\" must have five fields: minute, hour, day of the month, "
                    + "month and day of the week.")
        }
        minutes = try Self.parse(fields[0], "minute", 0...59)
        hours = try Self.parse(fields[1], "hour", 0...23)
        days = try Self.parse(fields[2], "day of the month", 1...31)
        months = try Self.parse(fields[3], "month", 1...12, Self.monthNames)
        weekdays = Set(try Self.parse(fields[4], "day of the week", 0...7, Self.weekdayNames).map { $0 % 7 })
        everyHour = fields[1] == "*"
        (anyDay, anyWeekday) = (fields[2].hasPrefix("*"), fields[4].hasPrefix("*"))
    }

    /// Reads a field: `*`, a number, a range or a name, each with an optional step (`/15`), or several of them with
    /// commas in between.
    private static func parse(
        _ field: String, _ name: String, _ range: ClosedRange<Int>, _ names: [String: Int] = [:]
    ) throws -> Set<Int> {
        func invalid(_ reason: String) -> JobError {
            JobError(.invalidSchedule, "The \(name) \"\(field.prefix(80))\" of the cron expression \(reason).")
        }
        func number(_ text: Substring) throws -> Int {
            guard let number = names[text.lowercased()] ?? (text.allSatisfy(\.isASCII) ? Int(text) : nil),
                range.contains(number)
            else { throw invalid("must be from \(range.lowerBound) to \(range.upperBound)") }
            return number
        }
        var values: Set<Int> = []
        for part in field.split(separator: ",", omittingEmptySubsequences: false) {
            let pieces = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let base = pieces.first, !base.isEmpty else { throw invalid("has an empty part") }
            var step = 1
            if pieces.count == 2 {
                guard let number = Int(pieces[1]), 1...range.upperBound ~= number else {
                    throw invalid("must have a step from 1 to \(range.upperBound)")
                }
                step = number
            }
            let bounds = base.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            let (first, last): (Int, Int)
            if base == "*" {
                (first, last) = (range.lowerBound, range.upperBound)
            } else if bounds.count == 2 {
                (first, last) = (try number(bounds[0]), try number(bounds[1]))
            } else {
                first = try number(base)
                // `5/10` means from 5 on, every 10.
                last = pieces.count == 2 ? range.upperBound : first
            }
            guard first <= last else { throw invalid("has a range whose end is before its start") }
            values.formUnion(stride(from: first, through: last, by: step))
        }
        return values
    }

    /// Whether a day has ticks. If both days are restricted, one of them must match, as in every cron.
    func matches(_ day: CivilDay) -> Bool {
        guard months.contains(day.month) else { return false }
        let (monthDay, weekday) = (days.contains(day.day), weekdays.contains(day.weekday))
        return anyDay || anyWeekday ? monthDay && weekday : monthDay || weekday
    }
}
