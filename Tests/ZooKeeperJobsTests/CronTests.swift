import Foundation
import Testing
import ZooKeeperJobs

struct CronTests {
    private func date(_ text: String) throws -> Date { try Date.ISO8601FormatStyle().parse(text) }

    private func ticks(_ expression: String, _ zone: String, after start: String, count: Int) throws -> [String] {
        let timetable = try JobTimetable.cron(expression, timeZone: try #require(TimeZone(identifier: zone)))
        var (time, found) = (try date(start), [String]())
        for _ in 0..<count {
            time = try #require(timetable.tick(after: time))
            found.append(time.formatted(.iso8601))
        }
        return found
    }

    @Test(
        "A cron expression ticks as cron does",
        arguments: [
            ("0 3 * * *", "2026-01-01T02:59:59Z", ["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]),
            ("0 3 * * *", "2026-01-01T03:00:00Z", ["2026-01-02T03:00:00Z"]),
            ("*/15 9-10 * * 1-5", "2026-01-02T10:40:00Z", ["2026-01-02T10:45:00Z", "2026-01-05T09:00:00Z"]),
            ("5/20 0 1 jan,jul *", "2026-01-01T00:44:00Z", ["2026-01-01T00:45:00Z", "2026-07-01T00:05:00Z"]),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            (
                "0 0 13 * fri", "2026-01-01T00:00:00Z",
                ["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"]
            ),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", ["2026-01-04T00:00:00Z"]),
            ("@hourly", "2026-01-01T23:30:00Z", ["2026-01-02T00:00:00Z"]),
            ("@monthly", "2026-12-01T00:00:00Z", ["2027-01-01T00:00:00Z"]),
            ("0 0 1 1 *", "1999-12-31T23:59:59Z", ["2000-01-01T00:00:00Z"]),
        ])
    func utc(_ expression: String, _ start: String, _ expected: [String]) throws {
        #expect(try ticks(expression, "UTC", after: start, count: expected.count) == expected)
    }

    @Test("A tick in the hour that does not exist happens at the end of that hour")
    func springForward() throws {
        // In Zurich, 02:00 becomes 03:00 on 2026-03-29, at 01:00 UTC.
        #expect(
            try ticks("30 2 * * *", "Europe/Zurich", after: "2026-03-28T00:00:00Z", count: 3) == [
                "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z",
            ])
        // Each of them happens once, although both fall on the same moment.
        #expect(
            try ticks("15,45 2 29 3 *", "Europe/Zurich", after: "2026-03-28T12:00:00Z", count: 2) == [
                "2026-03-29T01:00:00Z", "2027-03-29T00:15:00Z",
            ])
        #expect(
            try ticks("*/30 * * * *", "Europe/Zurich", after: "2026-03-29T00:00:00Z", count: 4) == [
                "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z",
            ])
    }

    @Test("A tick in the repeated hour happens once, and an expression for every hour goes on by elapsed time")
    func fallBack() throws {
        // In New York, 02:00 becomes 01:00 on 2026-11-01, at 06:00 UTC.
        #expect(
            try ticks("30 1 * * *", "America/New_York", after: "2026-10-31T12:00:00Z", count: 2) == [
                "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z",
            ])
        #expect(
            try ticks("30 * * * *", "America/New_York", after: "2026-11-01T04:45:00Z", count: 3) == [
                "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z",
            ])
    }

    @Test("Zones with half hours, beyond the date line, and that skipped a day")
    func oddZones() throws {
        #expect(
            try ticks("0 9 * * *", "Asia/Kolkata", after: "2026-01-01T00:00:00Z", count: 1) == ["2026-01-01T03:30:00Z"])
        #expect(
            try ticks("0 0 * * *", "Pacific/Kiritimati", after: "2026-01-01T00:00:00Z", count: 1) == [
                "2026-01-01T10:00:00Z"
            ])
        // Lord Howe's clocks change by half an hour: 02:00 becomes 02:30 on 2026-10-04, at 15:30 UTC of the day before.
        #expect(
            try ticks("15 2 * * *", "Australia/Lord_Howe", after: "2026-10-03T00:00:00Z", count: 1) == [
                "2026-10-03T15:30:00Z"
            ])
        // Samoa had no 2011-12-30.
        #expect(
            try ticks("0 12 * * *", "Pacific/Apia", after: "2011-12-29T21:00:00Z", count: 2) == [
                "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z",
            ])
    }

    @Test(
        "Every local time of eight years is found once, or accounted for",
        arguments: ["Europe/Zurich", "UTC", "America/Sao_Paulo"])
    func everyDay(_ zone: String) throws {
        let timeZone = try #require(TimeZone(identifier: zone))
        let timetable = try JobTimetable.cron("30 2 * * *", timeZone: timeZone)
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = timeZone
        var (time, days) = (try date("2012-01-01T12:00:00Z"), 0)
        var previous = calendar.dateComponents([.day], from: time).day
        let end = try date("2020-01-01T12:00:00Z")
        while time < end {
            time = try #require(timetable.tick(after: time))
            let parts = calendar.dateComponents([.day, .hour, .minute], from: time)
            #expect((parts.hour == 2 && parts.minute == 30) || (parts.hour == 3 && parts.minute == 0))
            #expect(parts.day != previous, "two ticks on one day: \(time)")
            previous = parts.day
            days += 1
        }
        #expect(days == 2_923)
    }

    @Test(
        "An invalid expression is refused with the reason",
        arguments: [
            ("", "five fields"), ("* * * *", "five fields"), ("60 * * * *", "minute"), ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"), ("* * * 13 *", "month"), ("* * * * 8", "day of the week"),
            ("*/0 * * * *", "step"), ("5-1 * * * *", "range"), ("1,,2 * * * *", "empty"), ("a * * * *", "minute"),
            ("0 0 30 2 *", "no tick"), ("-1 * * * *", "minute"), ("1-2-3 * * * *", "minute"),
            ("99999999999999999999 * * * *", "minute"), ("@often", "five fields"),
        ])
    func invalid(_ expression: String, _ reason: String) {
        let error = #expect(throws: JobError.self) { try JobTimetable.cron(expression, timeZone: .gmt) }
        #expect(error?.code == .invalidSchedule && error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    @Test("An interval ticks at multiples of itself, also before 1970")
    func every() throws {
        let timetable = try JobTimetable.every(.seconds(90))
        #expect(timetable.tick(after: Date(timeIntervalSince1970: 0)) == Date(timeIntervalSince1970: 90))
        #expect(timetable.tick(after: Date(timeIntervalSince1970: 89.999)) == Date(timeIntervalSince1970: 90))
        #expect(timetable.tick(after: Date(timeIntervalSince1970: -1)) == Date(timeIntervalSince1970: 0))
        #expect(timetable.tick(after: Date(timeIntervalSince1970: -90)) == Date(timeIntervalSince1970: 0))
        #expect(throws: JobError.self) { try JobTimetable.every(.milliseconds(999)) }
    }
}
