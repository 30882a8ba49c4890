/// What a process knows about the ensemble's clock, from the times that the leader stamps on nodes: a value.
///
/// A stamp belongs to some moment between a request and its reply. So the clock is known up to the length of a round
/// trip, and the shortest one tells the most. Between two stamps, the process's monotonic clock measures the time.
struct EnsembleClock: Sendable {
    private struct Observation {
        let stamp: EnsembleTime
        let sentAt: Duration
        let receivedAt: Duration

        var uncertainty: Duration { receivedAt - sentAt }
    }
    /// The observation that tells the most now.
    private var observation: Observation?
    /// When the clock was last read, whether or not that told more.
    private var lastReading: Duration?

    /// How far two clocks may diverge: a thousandth of the time. That is twice the rate at which system clocks are
    /// adjusted.
    private static let drift = 1_000
    /// How old the last reading may be when a due time depends on it. The leader's clock may have been set since.
    private static let maximumAge = Duration.seconds(10)

    /// Records a stamp of the leader.
    ///
    /// - Parameters:
    ///   - stamp: the time in milliseconds since 1970.
    ///   - sentAt: when the request was sent, by the store's clock.
    ///   - receivedAt: when the reply arrived.
    mutating func observe(_ stamp: Int64, sentAt: Duration, receivedAt: Duration) {
        lastReading = receivedAt
        let stamp = EnsembleTime(millisecondsSince1970: stamp)
        let new = Observation(stamp: stamp, sentAt: sentAt, receivedAt: receivedAt)
        if let old = observation, agrees(new), new.uncertainty > old.uncertainty + drift(since: old, at: receivedAt) {
            return
        }
        observation = new
    }

    /// Whether a due time may depend on the last reading.
    func isFresh(at now: Duration) -> Bool {
        lastReading.map { now - $0 <= Self.maximumAge } ?? false
    }

    /// The earliest time that the ensemble's clock can show now.
    func earliest(at now: Duration) -> EnsembleTime? {
        guard let observation else { return nil }
        return observation.stamp.advanced(by: now - observation.receivedAt - drift(since: observation, at: now))
    }

    /// The latest time that the ensemble's clock can show now.
    func latest(at now: Duration) -> EnsembleTime? {
        guard let observation else { return nil }
        // A stamp of whole milliseconds was cut off, and so is the quotient.
        let passed = now - observation.sentAt + drift(since: observation, at: now) + .milliseconds(2)
        return observation.stamp.advanced(by: passed)
    }

    /// How long to wait until the ensemble's clock certainly shows this time.
    func wait(until time: EnsembleTime, at now: Duration) -> Duration? {
        earliest(at: now).map { max(.zero, $0.duration(to: time)) }
    }

    private func drift(since old: Observation, at now: Duration) -> Duration {
        max(.zero, now - old.receivedAt) / Self.drift
    }

    /// Whether an observation is possible according to the last one. If not, the leader's clock was set, or another
    /// server leads.
    private func agrees(_ new: Observation) -> Bool {
        guard let earliest = earliest(at: new.sentAt), let latest = latest(at: new.receivedAt) else { return true }
        let tolerance = Duration.milliseconds(1)
        return new.stamp.advanced(by: tolerance) >= earliest && new.stamp <= latest.advanced(by: tolerance)
    }
}
