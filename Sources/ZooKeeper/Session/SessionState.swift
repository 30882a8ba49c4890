/// What a client knows of its session.
public struct SessionState: Sendable, Hashable {
    /// How things stand between the client and the ensemble.
    public enum Phase: Sendable, Hashable {
        /// There is no session yet, or not again after an expiry.
        case connecting
        /// A server answers.
        case connected
        /// The connection is broken; the session lives on at the ensemble for now.
        case suspended
        /// No server has answered for two thirds of the session timeout, so the session may end soon, and with it
        /// ephemeral nodes and leases. Said **before** the ensemble can expire the session, as far as clocks run
        /// alike; see ``SessionState/timeout``.
        case inDoubt
        /// The client is closed.
        case closed
    }

    /// How things stand.
    public internal(set) var phase: Phase = .connecting
    /// The session's number; 0 while there is none. Another number is another session: the ephemeral nodes of the
    /// one before are gone.
    public internal(set) var sessionID: Int64 = 0
    /// The session timeout on which client and server agreed; zero before the first connection.
    public internal(set) var timeout: Duration = .zero
    /// How many sessions of this client have expired.
    public internal(set) var expirations = 0
    /// How often the connection came back, to the same session or to a new one.
    public internal(set) var reconnections = 0

    init() {}

    /// Creates a state. Meant for other implementations of a ZooKeeper.
    public init(phase: Phase, sessionID: Int64, timeout: Duration, expirations: Int) {
        self.phase = phase
        self.sessionID = sessionID
        self.timeout = timeout
        self.expirations = expirations
    }
}
