/// The client's view of its session.
public struct SessionState: Sendable, Hashable {
    /// The relation between the client and the ensemble.
    public enum Phase: Sendable, Hashable {
        /// There is no session: none was opened yet, or the last one has ended.
        case connecting
        /// The client is connected to a server.
        case connected
        /// The connection is lost, and the ensemble still keeps the session.
        case disconnected
        /// No server has responded for two thirds of the session timeout, so the session may soon expire, with its
        /// ephemeral nodes and leases. The client reports this **before** the ensemble can expire the session, provided
        /// that the clocks run at the same rate. See ``SessionState/timeout``.
        case suspended
        /// The client is closed.
        case closed
    }

    /// The current phase.
    public internal(set) var phase: Phase = .connecting
    /// The session's id. 0 while there is no session. A different id means a different session: the ephemeral
    /// nodes of the previous one are gone.
    public internal(set) var sessionID: Int64 = 0
    /// The session timeout that the client and the server negotiated. Zero before the first connection.
    public internal(set) var timeout: Duration = .zero
    /// How many sessions of this client have ended: expired, or refused by the ensemble.
    public internal(set) var expirations = 0
    /// How many times the connection was restored, to the same session or to a new one.
    public internal(set) var reconnections = 0

    init() {}

    /// Creates a state. For other implementations of ``ZooKeeperStore``.
    public init(phase: Phase, sessionID: Int64, timeout: Duration, expirations: Int) {
        self.phase = phase
        self.sessionID = sessionID
        self.timeout = timeout
        self.expirations = expirations
    }
}
