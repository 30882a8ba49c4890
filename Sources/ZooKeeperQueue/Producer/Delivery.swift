/// When a message is to be delivered.
enum Delivery: Sendable, Hashable {
    case now
    /// This long after a moment of the store's clock.
    case after(Duration, since: Duration)
    case at(EnsembleTime)

    /// The longest delay: ten years.
    static let longestDelay = Duration.seconds(3_653 * 86_400)

    /// Returns the due time on the ensemble's clock; `nil` when the message may be delivered now.
    ///
    /// A delay begins at the latest time that the clock can have shown, so the message is never early. The producer
    /// reads the clock before it sends the first message with a delay.
    func due(_ clock: EnsembleClock, now: Duration) -> EnsembleTime? {
        switch self {
        case .now: return nil
        case .after(let delay, let start): return clock.latest(at: start)?.advanced(by: delay)
        case .at(let time):
            if let earliest = clock.earliest(at: now), time <= earliest { return nil }
            return time
        }
    }

    /// Throws for a delay outside its limits.
    static func validate(_ delay: Duration) throws {
        if delay >= .zero, delay <= longestDelay { return }
        throw QueueError(.invalidArgument, "The delay must be from zero to ten years, not \(delay).")
    }
}

extension ProducerSequence.Entry {
    /// Sets the times that depend on the ensemble's clock.
    mutating func setTimes(by clock: EnsembleClock, now: Duration) {
        due = delivery.due(clock, now: now)
        if let expiry, let time = expiry.due(clock, now: now) { Envelope.setExpiry(time, in: &data) }
    }

    /// Whether the message expires before it is delivered. The difference of two readings of the clock does not count.
    func expiresBeforeDelivery(by clock: EnsembleClock, now: Duration) -> Bool {
        guard let due = delivery.due(clock, now: now),
            let expiresAt = expiry?.due(clock, now: now) ?? Envelope.expiry(in: data)
        else { return false }
        return expiresAt <= due
    }
}
