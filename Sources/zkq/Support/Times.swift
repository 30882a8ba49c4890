import ArgumentParser
import Glibc
import ZooKeeperQueue

/// Times in arguments and in output.
enum Times {
    private static let millisecondsOfUnits: [Substring: Double] = [
        "ms": 1, "": 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000,
    ]
    /// The longest delay that a queue accepts: ten years.
    private static let longestDelay: Double = 3_653 * 86_400_000

    /// Parses a delay such as 500ms or 10s. A number without a unit means seconds, as in the other options.
    ///
    /// - Throws: `ValidationError`.
    static func delay(_ text: String) throws -> Duration {
        guard let delay = try duration(text, upTo: longestDelay) else {
            throw ValidationError("A delay can have at most 3653d.")
        }
        return delay
    }

    /// Parses the time after which a message expires. It has the form of a delay, and can be twice as long.
    ///
    /// - Throws: `ValidationError`.
    static func lifetime(_ text: String) throws -> Duration {
        guard let lifetime = try duration(text, upTo: 2 * longestDelay), lifetime > .zero else {
            throw ValidationError(
                "The time after which a message expires must be more than zero and at most twenty years (7306d).")
        }
        return lifetime
    }

    /// Parses a duration. Returns `nil` when it exceeds the limit.
    private static func duration(_ text: String, upTo milliseconds: Double) throws -> Duration? {
        let number = text.prefix { ("0"..."9").contains($0) || $0 == "." }
        guard let unit = millisecondsOfUnits[text.dropFirst(number.count)], let value = Double(number) else {
            throw ValidationError(
                "A duration is a number and one of the units ms, s, m, h and d, such as 500ms, 10s or 3d.")
        }
        return value * unit <= milliseconds ? .milliseconds(value * unit) : nil
    }

    /// Parses a moment: an ISO 8601 time with its time zone, or milliseconds since 1970.
    ///
    /// - Throws: `ValidationError`.
    static func moment(_ text: String) throws -> EnsembleTime {
        // A number of another length is usually one of seconds. The message would be delivered at once.
        if text.utf8.count == 13, text.utf8.allSatisfy(Digits.isDigit), let milliseconds = Int64(text) {
            return EnsembleTime(millisecondsSince1970: milliseconds)
        }
        guard let moment = iso8601(text) else {
            throw ValidationError(
                "A time has the form 2026-12-24T18:00:00Z or 2026-12-24T19:00:00+01:00, or is the 13 digits of "
                    + "milliseconds since 1970.")
        }
        return moment
    }

    private static func iso8601(_ text: String) -> EnsembleTime? {
        var digits = Digits(text)
        guard let year = digits.next(4), digits.skip("-"), let month = digits.next(2), digits.skip("-"),
            let day = digits.next(2), digits.skip("T"), let hour = digits.next(2), digits.skip(":"),
            let minute = digits.next(2), digits.skip(":"), let second = digits.next(2),
            let milliseconds = digits.nextMilliseconds(), let offset = digits.nextOffset(), digits.isAtEnd
        else { return nil }
        var time = tm()
        (time.tm_year, time.tm_mon, time.tm_mday) = (year - 1_900, month - 1, day)
        (time.tm_hour, time.tm_min, time.tm_sec) = (hour, minute, second)
        let seconds = timegm(&time)
        // `timegm` turns February 30 into March 2.
        guard time.tm_mon == month - 1, time.tm_mday == day, time.tm_hour == hour, time.tm_min == minute,
            time.tm_sec == second
        else { return nil }
        return EnsembleTime(millisecondsSince1970: (Int64(seconds) - offset) * 1_000 + milliseconds)
    }

    /// Returns a moment as an ISO 8601 time in UTC, with milliseconds.
    static func iso8601(_ moment: EnsembleTime) -> String {
        let (milliseconds, fraction) = moment.millisecondsSince1970.quotientAndRemainder(dividingBy: 1_000)
        var (seconds, time) = (time_t(milliseconds), tm())
        gmtime_r(&seconds, &time)
        let date = [padded(time.tm_year + 1_900, to: 4), padded(time.tm_mon + 1), padded(time.tm_mday)]
        let clock = [padded(time.tm_hour), padded(time.tm_min), padded(time.tm_sec)]
        return "\(date.joined(separator: "-"))T\(clock.joined(separator: ":")).\(padded(fraction, to: 3))Z"
    }

    private static func padded(_ number: some BinaryInteger, to length: Int = 2) -> String {
        let text = "\(number)"
        return String(repeating: "0", count: max(0, length - text.count)) + text
    }
}

/// Reads numbers of a fixed length from a text.
private struct Digits {
    private var rest: Substring.UTF8View

    init(_ text: String) { rest = text[...].utf8 }

    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func next(_ count: Int) -> Int32? {
        let digits = rest.prefix(count)
        guard digits.count == count, digits.allSatisfy(Self.isDigit) else { return nil }
        rest = rest.dropFirst(count)
        return Int32(String(Substring(digits)))
    }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest = rest.dropFirst()
        return true
    }

    /// Reads a fraction of a second, if there is one. Returns `nil` for a point without digits.
    mutating func nextMilliseconds() -> Int64? {
        guard skip(".") else { return 0 }
        let digits = rest.prefix(while: Self.isDigit)
        rest = rest.dropFirst(digits.count)
        return digits.isEmpty ? nil : Int64((String(Substring(digits)) + "00").prefix(3))
    }

    /// Reads a time zone, and returns its seconds ahead of UTC.
    mutating func nextOffset() -> Int64? {
        if skip("Z") { return 0 }
        let isAhead = skip("+")
        guard isAhead || skip("-"), let hours = next(2), skip(":"), let minutes = next(2), hours < 24, minutes < 60
        else { return nil }
        return Int64((hours * 60 + minutes) * 60) * (isAhead ? 1 : -1)
    }
}
