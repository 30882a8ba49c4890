/// One session's connections to the servers, made by a ``ZooKeeperTransport``. A ``Connection`` decides when to open
/// and to close handles, which requests to send, and what their results mean.
///
/// A handle connects by itself, to one server after the other, and continues its session at each, until it is closed or
/// the session has ended. It tells its delegate what happens.
package protocol SessionHandle: Sendable {
    var id: HandleID { get }
    /// Whether the session is established. Requests are then sent at once.
    var isConnected: Bool { get }
    /// Whether there is no connection, not even one in its handshake.
    var isDisconnected: Bool { get }
    /// Whether the handle will never connect again, because its session has expired or the
    /// ensemble refused its credentials.
    var hasEnded: Bool { get }
    /// The session's id and password, with which another handle takes the session over.
    /// `nil` before the first connection.
    var sessionIdentity: SessionIdentity? { get }
    /// The session timeout that the server and the client negotiated.
    var sessionTimeout: Duration { get }

    /// Adds the credentials, which are sent on each new connection.
    ///
    /// - Returns: `nil` when the delegate will be told the result. Otherwise, retry after the next session event.
    func authenticate(scheme: String, credentials: String) -> ZooKeeperError.Code?

    /// Sends a request. The token identifies the completion.
    ///
    /// - Returns: `nil` when a completion will follow. Otherwise, why nothing was sent.
    func send(_ request: Request, token: UInt64) -> ZooKeeperError.Code?

    /// Requests the removal of the session's watches on a path. The token identifies the completion.
    ///
    /// - Returns: `nil` when a completion will follow. Otherwise, why nothing was sent.
    func removeWatches(_ key: WatchKey, token: UInt64) -> ZooKeeperError.Code?

    /// Closes the session. Blocks for a few seconds at most. Requests without a response may get no completion.
    func close()
}

/// Receives the events of a handle on the threads of its transport, in the order in which the server sent them.
/// Implementations neither block nor call the handle. An error of `nil` means success.
package protocol SessionHandleDelegate: AnyObject, Sendable {
    func sessionEvent(_ handle: HandleID, phase: SessionHandlePhase)
    func watchEvent(_ event: WatchEvent)
    func authenticated(_ handle: HandleID, error: ZooKeeperError.Code?)
    func watchesRemoved(_ token: UInt64, error: ZooKeeperError.Code?)
    /// - Parameter reply: For a multi that failed, ``Reply/multiFailed(at:)`` with the index of the failed operation.
    func completed(_ token: UInt64, error: ZooKeeperError.Code?, reply: Reply?)
    /// An attempt to connect has failed, or a connection was lost.
    func attemptFailed(_ handle: HandleID, reason: String)
    /// The watches of the session, for a handle that sets them again on a new connection.
    func armedWatches() -> [WatchKey]
}

/// What a session event of a handle means.
package enum SessionHandlePhase: Sendable {
    case connecting, connected, expired, authenticationFailed, other
}

/// What a handle needs to open a session.
package struct SessionHandleOptions: Sendable {
    package let id: HandleID
    /// `host:port,…`, with IPv6 addresses in brackets.
    package let servers: String
    package let sessionTimeout: Duration
    /// The session to continue, whose previous handle is closed. `nil` opens a new session.
    package let session: SessionIdentity?
}

/// A session's id and password.
package struct SessionIdentity: Sendable, Hashable {
    package let number: Int64
    package let password: [UInt8]

    package init(number: Int64, password: [UInt8]) {
        self.number = number
        self.password = password
    }
}

/// Thrown when a handle cannot be opened.
package struct SessionHandleOpenError: Error {
    let reason: String
}

/// Identifies a handle and its client.
///
/// The upper 24 bits are the number of the client. The lower 40 bits count its handles, or its calls in the token of a
/// call. It is an integer instead of a pointer, because a late callback then finds no entry instead of freed memory;
/// see "Calls and callbacks" in <doc:OverTheCClient>.
package struct HandleID: Sendable, Hashable {
    let rawValue: UInt64
    var client: UInt64 { rawValue >> 40 }

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(client: UInt64, generation: UInt64) { rawValue = client << 40 | generation & 0xFF_FFFF_FFFF }

    /// Returns the client to which a call's token belongs.
    static func client(ofToken token: UInt64) -> UInt64 { token >> 40 }
}

extension ZooKeeperError.Code {
    /// The code with which a handle that is not connected refuses a request. Callers never see it, because the client
    /// postpones such a request.
    package static let invalidState = Self(rawValue: -9)

    /// Creates a code from the result of an operation.
    ///
    /// - Returns: `nil` if the operation has succeeded.
    package init?(result: Int32) {
        if result == 0 { return nil }
        self.init(rawValue: result)
    }
}
