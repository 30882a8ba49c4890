/// An exponential backoff between attempts to open a session. It has full jitter, because otherwise all clients of a
/// restarted ensemble would connect at once.
package struct Backoff: Sendable {
    let base: Duration
    let maximum: Duration
    private(set) var attempts = 0

    package init(base: Duration, maximum: Duration) {
        self.base = base
        self.maximum = maximum
    }

    /// Returns the delay before the next attempt.
    package mutating func next(random: (ClosedRange<Double>) -> Double = { .random(in: $0) }) -> Duration {
        defer { attempts += 1 }
        let ceiling = min(maximum, base * (1 << min(attempts, 16)))
        return ceiling * random(0...1)
    }

    /// Resets the backoff after a successful attempt.
    package mutating func reset() { attempts = 0 }
}
