/// How long to wait before the next attempt to open a session: doubling, with full jitter, so that the clients of a
/// restarted ensemble do not all come at once.
struct Backoff: Sendable {
    let base: Duration
    let maximum: Duration
    private(set) var attempts = 0

    init(base: Duration, maximum: Duration) {
        self.base = base
        self.maximum = maximum
    }

    /// The wait before the next attempt.
    mutating func next(random: (ClosedRange<Double>) -> Double = { .random(in: $0) }) -> Duration {
        defer { attempts += 1 }
        let ceiling = min(maximum, base * (1 << min(attempts, 16)))
        return ceiling * random(0...1)
    }

    /// The attempt succeeded.
    mutating func reset() { attempts = 0 }
}
