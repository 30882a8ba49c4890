package import ZooKeeper

/// A value type that keeps a session over its connections: it takes what happens, and returns what to do. It does no
/// I/O and reads no clock.
///
/// Attempts to connect have numbers. What an earlier attempt still reports has no effect.
package struct SessionStateMachine: Sendable {
    package typealias Instant = ContinuousClock.Instant

    package enum Action: Sendable {
        // Tell the delegate.
        case completed(token: UInt64, error: ZooKeeperError.Code?, Reply?)
        case watchesRemoved(token: UInt64, error: ZooKeeperError.Code?)
        case watch(WatchEvent)
        case authenticated(error: ZooKeeperError.Code?)
        case phaseChanged(SessionHandlePhase)
        /// Call ``SessionStateMachine/establish(watches:now:)``.
        case establish
        case closeConnection
        /// Tell the delegate why there is no connection, and try the next server after a pause.
        case connectAgain(reason: String, wasStable: Bool)
        /// Stop waiting for the server to confirm the end of the session.
        case confirmClose
    }

    /// Why a session has ended.
    private enum End { case expired, authenticationFailed, closed }

    /// A connection to a server.
    private struct Link {
        enum Stage {
            /// The server has been asked for the session.
            case associating
            case connected(since: Instant)
            /// The server has been asked to end the session.
            case closing
        }
        var stage = Stage.associating
        var connection: ServerConnection
        var lastSent: Instant
        var lastHeard: Instant

        var isConnected: Bool { if case .connected = stage { true } else { false } }
        var isClosing: Bool { if case .closing = stage { true } else { false } }
    }

    /// `nil` between two connections, and after the end.
    private var link: Link?
    /// `nil` while the session goes on.
    private var end: End?
    package private(set) var session: SessionIdentity?
    /// The timeout that the server has granted, and before that the configured one.
    package private(set) var timeout: Duration
    /// The newest transaction that an earlier connection has seen.
    private var lastZxid: Int64 = 0
    private var attempt = 0
    private var credentials: [(scheme: String, credentials: String)] = []
    /// Whether an authentication result is still to be reported.
    private var owesAuthentication = false
    private var isFlushScheduled = false

    package init(session: SessionIdentity?, timeout: Duration) {
        self.session = session
        self.timeout = timeout
    }

    package var isConnected: Bool { link?.isConnected == true }
    /// Whether there is no connection, not even one in its handshake.
    package var isDisconnected: Bool { link.map(\.isClosing) ?? true }
    /// Whether the session has ended without being closed.
    package var hasEnded: Bool { end == .expired || end == .authenticationFailed }

    // MARK: To the server

    /// - Returns: Whether the session is connected. Otherwise, the request is not sent.
    package mutating func send(_ request: Request, token: UInt64) -> Bool {
        guard isConnected else { return false }
        link?.connection.send(request, token: token)
        return true
    }

    /// - Returns: Whether the session is connected. Otherwise, the request is not sent.
    package mutating func removeWatches(_ key: WatchKey, token: UInt64) -> Bool {
        guard isConnected else { return false }
        link?.connection.removeWatches(key, token: token)
        return true
    }

    /// Sends credentials on this connection, if there is one, and on all later ones.
    package mutating func authenticate(scheme: String, credentials: String) {
        self.credentials.append((scheme, credentials))
        owesAuthentication = true
        if isConnected { link?.connection.authenticate(scheme: scheme, credentials: credentials) }
    }

    /// Records that the output will be taken, so that all requests until then are sent together.
    ///
    /// - Returns: Whether the caller must schedule it.
    package mutating func scheduleFlush() -> Bool {
        defer { isFlushScheduled = true }
        return !isFlushScheduled
    }

    /// Returns the bytes to send.
    package mutating func takeOutput(now: Instant) -> [UInt8] {
        isFlushScheduled = false
        let bytes = link?.connection.takeOutput() ?? []
        if !bytes.isEmpty { link?.lastSent = now }
        return bytes
    }

    // MARK: Connecting

    /// Starts an attempt to connect.
    ///
    /// - Returns: Its number, or `nil` if no connection is wanted.
    package mutating func beginAttempt() -> Int? {
        guard end == nil, link == nil else { return nil }
        attempt += 1
        return attempt
    }

    /// Asks the server of a new connection for the session.
    ///
    /// - Returns: Whether the connection is wanted.
    package mutating func connected(_ attempt: Int, now: Instant) -> Bool {
        guard attempt == self.attempt, end == nil, link == nil else { return false }
        link = Link(
            connection: ServerConnection(session: session, lastZxid: lastZxid, timeout: timeout),
            lastSent: now, lastHeard: now)
        return true
    }

    /// Sends the credentials and the watches on a connection that the server has accepted, before any request.
    package mutating func establish(watches: [WatchKey], now: Instant) -> [Action] {
        guard case .associating = link?.stage else { return [] }
        for (scheme, credentials) in credentials {
            link?.connection.authenticate(scheme: scheme, credentials: credentials)
        }
        link?.connection.setWatches(watches)
        link?.stage = .connected(since: now)
        return [.phaseChanged(.connected)]
    }

    // MARK: From the server

    package mutating func received(_ attempt: Int, _ bytes: UnsafeRawBufferPointer, now: Instant) -> [Action] {
        guard attempt == self.attempt, link != nil else { return [] }
        var events: [ServerConnection.Event] = []
        var error: ProtocolError?
        do throws(ProtocolError) {
            if try link?.connection.receive(bytes, &events) == true { link?.lastHeard = now }
        } catch let thrown {
            error = thrown
        }
        var actions: [Action] = []
        actions.reserveCapacity(events.count)
        handle(events, &actions)
        if let error {
            actions += lost(attempt, reason: error.description, code: .runtimeInconsistency, error, now: now)
        }
        return actions
    }

    private mutating func handle(_ events: [ServerConnection.Event], _ actions: inout [Action]) {
        for event in events {
            switch event {
            case .completed(let token, let error, let reply):
                actions.append(.completed(token: token, error: error, reply))
            case .watchesRemoved(let token, let error): actions.append(.watchesRemoved(token: token, error: error))
            case .watch(let event): actions.append(.watch(event))
            case .connected(let session, let timeout):
                (self.session, self.timeout) = (session, timeout)
                actions.append(.establish)
            case .expired: actions += end(.expired)
            case .authenticated(let error):
                if error != nil { actions += end(.authenticationFailed) }
                if owesAuthentication { actions.append(.authenticated(error: error)) }
                owesAuthentication = false
            case .sessionClosed: actions.append(.confirmClose)
            }
        }
    }

    /// Ends the session, which no other connection can continue.
    private mutating func end(_ phase: SessionHandlePhase) -> [Action] {
        guard var link, !link.isClosing else { return [] }
        let hasExpired = phase == .expired
        end = hasExpired ? .expired : .authenticationFailed
        dropLink()
        var actions = [Action.closeConnection, .phaseChanged(phase)]
        handle(link.connection.end(code: hasExpired ? .connectionLoss : .authenticationFailed), &actions)
        return actions
    }

    /// Forgets the connection. Its later events have no effect.
    private mutating func dropLink() {
        lastZxid = link?.connection.lastZxid ?? lastZxid
        link = nil
        attempt += 1
    }

    /// An attempt to connect has failed, or its connection is lost. Fails the requests that were sent.
    package mutating func lost(
        _ attempt: Int, reason: String, code: ZooKeeperError.Code = .connectionLoss, now: Instant
    ) -> [Action] {
        lost(attempt, reason: reason, code: code, nil, now: now)
    }

    private mutating func lost(
        _ attempt: Int, reason: String, code: ZooKeeperError.Code, _ error: ProtocolError?, now: Instant
    ) -> [Action] {
        guard attempt == self.attempt, end == nil else { return [] }
        let lost = link
        dropLink()
        guard var link = lost else { return [.connectAgain(reason: reason, wasStable: false)] }
        switch link.stage {
        case .associating: return [.closeConnection, .connectAgain(reason: reason, wasStable: false)]
        case .connected(let since):
            var actions = [Action.closeConnection]
            handle(link.connection.end(code: code, error), &actions)
            // A server that accepts the session and ends the connection at once counts as one that does not accept it.
            let wasStable = since + .seconds(1) < now
            return actions + [.phaseChanged(.connecting), .connectAgain(reason: reason, wasStable: wasStable)]
        case .closing:
            end = .closed
            return [.closeConnection, .confirmClose]
        }
    }

    /// Pings an idle server, and gives up on one that has sent nothing for two thirds of the session timeout.
    ///
    /// - Returns: When to check again, or `nil` if the connection is gone.
    package mutating func check(_ attempt: Int, now: Instant) -> (next: Instant?, actions: [Action]) {
        guard attempt == self.attempt, let link else { return (nil, []) }
        let end = link.lastHeard + timeout * 2 / 3
        if now >= end {
            let reason = "The server has sent nothing for too long."
            return (nil, lost(attempt, reason: reason, code: .operationTimeout, now: now))
        }
        let ping = link.lastSent + timeout / 3
        guard now >= ping else { return (min(ping, end), []) }
        if link.isConnected { self.link?.connection.ping() }
        self.link?.lastSent = now
        return (min(now + timeout / 3, end), [])
    }

    // MARK: Closing

    /// Asks the server to end the session. The responses to earlier requests are still delivered.
    ///
    /// - Returns: Whether the server will confirm it.
    package mutating func beginClose() -> Bool {
        guard isConnected else { return false }
        link?.connection.closeSession()
        link?.stage = .closing
        return true
    }

    /// Ends the session, even if the server has not confirmed it. Nothing is reported or delivered from now on.
    package mutating func close() {
        end = .closed
        dropLink()
    }
}
