#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A moment by the ensemble's clock: the clock of the server that leads, in milliseconds since 1970 in UTC.
///
/// Compare it with other moments of the same ensemble. A machine's own clock can differ from it.
public struct EnsembleTime: Sendable, Hashable, Comparable {
    /// Milliseconds since the beginning of 1970 in UTC.
    public let millisecondsSince1970: Int64

    /// Creates a moment.
    public init(millisecondsSince1970: Int64) { self.millisecondsSince1970 = millisecondsSince1970 }

    /// The clock of this machine, which can differ from the ensemble's.
    static var ofThisMachine: EnsembleTime {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return EnsembleTime(millisecondsSince1970: Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000)
    }

    /// Returns the time from this moment to another one. It is negative when the other one is earlier.
    public func duration(to other: EnsembleTime) -> Duration {
        .milliseconds(other.millisecondsSince1970) - .milliseconds(millisecondsSince1970)
    }

    /// Returns the moment this much later, or earlier for a negative duration. A fraction of a millisecond is cut off.
    public func advanced(by duration: Duration) -> EnsembleTime {
        // A Double of this size is an exact number of milliseconds, 285,000 years.
        let limit = Double(1 << 53)
        let milliseconds = Int64(min(max((duration / .milliseconds(1)).rounded(.down), -limit), limit))
        let (sum, isTooLarge) = millisecondsSince1970.addingReportingOverflow(milliseconds)
        return EnsembleTime(millisecondsSince1970: isTooLarge ? (milliseconds < 0 ? .min : .max) : sum)
    }

    /// Whether one moment is earlier than the other.
    public static func < (a: EnsembleTime, b: EnsembleTime) -> Bool {
        a.millisecondsSince1970 < b.millisecondsSince1970
    }
}
