import ZooKeeper

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How long a message waits after a failed delivery before it is delivered again.
public struct RetryPolicy: Sendable, Hashable {
    /// The delay after the first failed delivery.
    public let initial: Duration
    /// By which factor the delay grows with each further failed delivery.
    public let factor: Double
    /// The longest delay.
    public let maximum: Duration
    /// By which fraction a delay varies at random, up or down, so that messages that failed together do not all come
    /// back together: 0…1.
    public let jitter: Double

    /// The message is delivered again at once.
    public static let immediate = RetryPolicy(initial: .zero, factor: 1, maximum: .zero, jitter: 0)

    /// The delay grows by a factor with each failed delivery.
    ///
    /// - Parameters:
    ///   - initial: the delay after the first failed delivery: more than zero. Default: 1 second.
    ///   - factor: 1 or more. Default: 2.
    ///   - maximum: the longest delay: at least `initial`, and at most ten years. Default: 1 hour.
    ///   - jitter: by which fraction a delay varies at random, up or down: 0…1. Default: 0.2.
    public static func exponential(
        initial: Duration = .seconds(1), factor: Double = 2, maximum: Duration = .seconds(3_600), jitter: Double = 0.2
    ) -> RetryPolicy {
        RetryPolicy(initial: initial, factor: factor, maximum: maximum, jitter: jitter)
    }

    /// The delay is always the same.
    ///
    /// - Parameters:
    ///   - delay: more than zero, and at most ten years.
    ///   - jitter: by which fraction a delay varies at random, up or down: 0…1. Default: 0.2.
    public static func constant(_ delay: Duration, jitter: Double = 0.2) -> RetryPolicy {
        RetryPolicy(initial: delay, factor: 1, maximum: delay, jitter: jitter)
    }

    /// Returns the delay after this many failed deliveries, varied at random.
    func delay(after deliveries: Int) -> Duration {
        if self == .immediate { return .zero }
        // In this form, the number of deliveries cannot overflow the delay.
        let exponent = Double(max(0, deliveries - 1))
        let longest = maximum / .milliseconds(1)
        let delay = min(initial / .milliseconds(1) * pow(factor, exponent), longest)
        // 53 bits fill the fraction of a Double: 0…1.
        let random = Double(RandomName.bits() >> 11) / Double(1 << 53)
        return .milliseconds(Int64(min(delay * (1 + jitter * (2 * random - 1)), longest).rounded()))
    }

    /// Throws for a value outside its limits.
    package func validate() throws {
        if self == .immediate { return }
        func require(_ isValid: Bool, _ message: String) throws {
            if !isValid { throw QueueError(.invalidArgument, message) }
        }
        try require(initial > .zero, "The initial delay of a retry policy must be more than zero, not \(initial).")
        try require(
            maximum >= initial && maximum <= Delivery.longestDelay,
            "The maximum delay of a retry policy must be from its initial delay, \(initial), to ten years, not "
                + "\(maximum).")
        try require(
            factor >= 1 && factor.isFinite, "The factor of a retry policy must be 1 or more, not \(factor).")
        try require((0...1).contains(jitter), "The jitter of a retry policy must be from 0 to 1, not \(jitter).")
    }
}

// MARK: Wire format

extension RetryPolicy {
    /// Reads the value of the attribute: the initial delay in milliseconds, the factor, the maximum delay in
    /// milliseconds and the jitter, with spaces in between. Returns `nil` when it is invalid.
    init?(_ text: String) {
        let words = text.split(separator: " ")
        guard words.count == 4, let initial = Int64(words[0]), let factor = Double(words[1]),
            let maximum = Int64(words[2]), let jitter = Double(words[3])
        else { return nil }
        self.init(
            initial: .milliseconds(initial), factor: factor, maximum: .milliseconds(maximum), jitter: jitter)
        guard (try? validate()) != nil else { return nil }
    }

    /// Returns the value of the attribute.
    var encoded: String {
        // A delay of less than a millisecond must not become none.
        func milliseconds(_ time: Duration) -> Int64 { max(1, Int64(time / .milliseconds(1))) }
        return "\(milliseconds(initial)) \(factor) \(milliseconds(maximum)) \(jitter)"
    }
}
