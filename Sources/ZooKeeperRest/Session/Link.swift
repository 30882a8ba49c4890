/// A session at a gateway.
struct Link: Sendable, Hashable {
    /// The gateway's address, without a slash at its end.
    let gateway: String
    /// The session's name there.
    let id: String
    /// Whether the gateway has announced transactions and watches.
    let hasExtensions: Bool
    /// The session's number at the ensemble.
    let owner: Int64
    /// When the session was last heard of, before it was first used.
    let opened: ContinuousClock.Instant
    /// After which time of silence the session ends, at the gateway or at the ensemble.
    let timeout: Duration
}
