import Dispatch
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import ZooKeeper

/// A session over SwiftNIO: one connection at a time, to one server after the other.
///
/// Callers write requests into the connection's buffer under a lock, and the event loop flushes what has accumulated.
/// All events of the session are reported on the event loop, in the order in which the server sent them.
final class NIOSessionHandle: SessionHandle {
    private struct State {
        var phase = Phase.connecting
        /// Counts the attempts to connect. Events of earlier ones are ignored.
        var attempt = 0
        var channel: (any Channel)?
        var connection: ServerConnection?
        var session: SessionIdentity?
        /// The timeout that the server has granted, and before that the configured one.
        var timeout: Duration
        var lastZxid: Int64 = 0
        var credentials: [(scheme: String, credentials: String)] = []
        /// Whether an authentication result is still to be reported.
        var owesAuthentication = false
        var isFlushScheduled = false
        var connectedAt = NIODeadline.now()
        var lastSent = NIODeadline.now()
        var lastHeard = NIODeadline.now()
        var closed: DispatchSemaphore?
        /// The next check of the connection.
        var check: Scheduled<Void>?
    }
    private enum Phase { case connecting, associating, connected, expired, authenticationFailed, closed }

    let id: HandleID
    private let tls: ZooKeeperTLS?
    private let delegate: any SessionHandleDelegate
    private let loop: any EventLoop
    private let state: Mutex<State>
    /// Used on the event loop only.
    private let servers: NIOLoopBoundBox<ServerRotation>

    init(_ options: SessionHandleOptions, tls: ZooKeeperTLS?, delegate: any SessionHandleDelegate) {
        id = options.id
        self.tls = tls
        self.delegate = delegate
        loop = MultiThreadedEventLoopGroup.singleton.next()
        state = Mutex(State(session: options.session, timeout: options.sessionTimeout))
        let rotation = ServerRotation(options.servers)
        servers = .makeBoxSendingValue(rotation, eventLoop: loop)
        loop.execute { self.connect() }
    }

    // MARK: From any thread

    var isConnected: Bool { state.withLock { $0.phase == .connected } }
    var isDisconnected: Bool { state.withLock { $0.phase != .connected && $0.phase != .associating } }
    var hasEnded: Bool { state.withLock { $0.phase == .expired || $0.phase == .authenticationFailed } }
    var sessionIdentity: SessionIdentity? { state.withLock { $0.session } }
    var sessionTimeout: Duration { state.withLock { $0.timeout } }

    func authenticate(scheme: String, credentials: String) -> Int32 {
        state.withLock { state in
            state.credentials.append((scheme, credentials))
            state.owesAuthentication = true
            if state.phase == .connected {
                state.connection?.authenticate(scheme: scheme, credentials: credentials)
                scheduleFlush(&state)
            }
        }
        return 0
    }

    func send(_ request: Request, token: UInt64) -> Int32 {
        write { $0?.send(request, token: token) }
    }

    func removeWatches(_ key: WatchKey, token: UInt64) -> Int32 {
        write { $0?.removeWatches(key, token: token) }
    }

    /// - Returns: 0 when a completion will follow, or the C client's code for a handle that is not connected.
    private func write(_ body: (inout ServerConnection?) -> Void) -> Int32 {
        state.withLock { state in
            guard state.phase == .connected, state.connection != nil else {
                return ZooKeeperError.Code.invalidState.rawValue
            }
            body(&state.connection)
            scheduleFlush(&state)
            return 0
        }
    }

    /// Coalesces requests into one write per turn of the event loop.
    private func scheduleFlush(_ state: inout State) {
        if state.isFlushScheduled { return }
        state.isFlushScheduled = true
        loop.execute { self.flush() }
    }

    /// How long closing waits for the server to confirm the end of the session.
    private static let closeLimit = DispatchTimeInterval.milliseconds(1_500)

    /// Never called on an event loop, which it would block.
    func close() {
        let closed = DispatchSemaphore(value: 0)
        loop.execute { self.closeSession(signalling: closed) }
        _ = closed.wait(timeout: .now() + Self.closeLimit)
        let channel = state.withLock { state in
            // From now on, nothing of this connection is reported, and no other one is made, even if the event loop has
            // not closed the session in time.
            state.phase = .closed
            state.attempt += 1
            state.check?.cancel()
            defer { (state.channel, state.connection, state.check) = (nil, nil, nil) }
            return state.channel
        }
        channel?.close(promise: nil)
    }

    // MARK: On the event loop

    private func closeSession(signalling closed: DispatchSemaphore) {
        let mustWait = state.withLock { state in
            defer { state.phase = .closed }
            guard state.phase == .connected, state.connection != nil else { return false }
            state.connection?.closeSession()
            state.closed = closed
            return true
        }
        if mustWait { flush() } else { closed.signal() }
    }

    private func flush() {
        let (bytes, channel) = state.withLock { state in
            state.isFlushScheduled = false
            let bytes = state.connection?.takeOutput() ?? []
            if !bytes.isEmpty { state.lastSent = .now() }
            return (bytes, state.channel)
        }
        if !bytes.isEmpty { channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }
    }

    /// Tries the next server.
    private func connect() {
        let server = servers.value.next()
        let (attempt, timeout) = state.withLock { state -> (Int?, Duration) in
            guard state.phase == .connecting else { return (nil, .zero) }
            state.attempt += 1
            return (state.attempt, state.timeout)
        }
        guard let attempt else { return }
        let patience = TimeAmount(timeout / Int32(max(3, servers.value.count + 1)))
        prepare(server).flatMap { [loop] context, address in
            ClientBootstrap(group: loop)
                .connectTimeout(patience)
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        if let context {
                            try channel.pipeline.syncOperations.addHandler(
                                NIOSSLClientHandler(context: context, serverHostname: server.nameForTLS))
                        }
                        try channel.pipeline.syncOperations.addHandler(ConnectionHandler(self, attempt: attempt))
                    }
                }
                .connect(to: address)
        }.whenFailure { self.lost(attempt, reason: "\($0)") }
    }

    /// Reads the certificates and resolves the server's name, on another thread, because both block.
    private func prepare(_ server: ServerRotation.Server) -> EventLoopFuture<(NIOSSLContext?, SocketAddress)> {
        NIOThreadPool.singleton.runIfActive(eventLoop: loop) { [tls] in
            // A name can resolve to several servers.
            guard let address = try HostResolver.addresses(of: server.host, port: server.port).randomElement() else {
                throw HostResolver.Failure(description: "The name \(server.host) has no address.")
            }
            return (try tls?.makeContext(), address)
        }
    }

    /// The connection is made. Asks the server for the session.
    fileprivate func connected(_ attempt: Int, _ channel: any Channel) {
        let isCurrent = state.withLock { state in
            guard state.attempt == attempt, state.phase == .connecting else { return false }
            state.phase = .associating
            state.channel = channel
            state.connection = ServerConnection(
                session: state.session, lastZxid: state.lastZxid, timeout: state.timeout)
            (state.lastSent, state.lastHeard) = (.now(), .now())
            return true
        }
        guard isCurrent else { return channel.close(promise: nil) }
        flush()
        check(attempt)
    }

    fileprivate func received(_ attempt: Int, _ bytes: ByteBuffer) {
        var events: [ServerConnection.Event] = []
        let error = state.withLock { state -> ProtocolError? in
            guard state.attempt == attempt else { return nil }
            return bytes.withUnsafeReadableBytes { bytes in
                do throws(ProtocolError) {
                    if try state.connection?.receive(bytes, &events) == true { state.lastHeard = .now() }
                    return nil
                } catch {
                    return error
                }
            }
        }
        for event in events { handle(event) }
        if let error { lost(attempt, reason: error.description, code: .runtimeInconsistency, error) }
    }

    private func handle(_ event: ServerConnection.Event) {
        switch event {
        case .connected(let session, let timeout): established(session, timeout)
        case .expired: end(.expired)
        case .authenticated(let code):
            if code != 0 { end(.authenticationFailed) }
            let isOwed = state.withLock { state in
                defer { state.owesAuthentication = false }
                return state.owesAuthentication
            }
            if isOwed { delegate.authenticated(id, code: code) }
        case .completed(let token, let code, let reply): delegate.completed(token, code: code, reply: reply)
        case .watchesRemoved(let token, let code): delegate.watchesRemoved(token, code: code)
        case .watch(let event): delegate.watchEvent(event)
        case .sessionClosed:
            state.withLock { state in
                defer { state.closed = nil }
                return state.closed
            }?.signal()
        }
    }

    private func established(_ session: SessionIdentity, _ timeout: Duration) {
        let watches = delegate.armedWatches()
        let isWanted = state.withLock { state in
            guard state.phase == .associating else { return false }
            for (scheme, credentials) in state.credentials {
                state.connection?.authenticate(scheme: scheme, credentials: credentials)
            }
            state.connection?.setWatches(watches)
            (state.session, state.timeout, state.phase) = (session, timeout, .connected)
            state.connectedAt = .now()
            return true
        }
        guard isWanted else { return }
        flush()
        delegate.sessionEvent(id, phase: .connected)
    }

    /// Ends the handle, because its session cannot be resumed.
    private func end(_ phase: SessionHandlePhase) {
        let (isClosed, channel) = state.withLock { state -> (Bool, (any Channel)?) in
            if state.phase == .closed { return (true, nil) }
            state.phase = phase == .expired ? .expired : .authenticationFailed
            defer { state.channel = nil }
            return (false, state.channel)
        }
        if isClosed { return }
        channel?.close(promise: nil)
        delegate.sessionEvent(id, phase: phase)
    }

    /// Sends a ping on an idle connection, and gives up on a server that has sent nothing for two thirds of the session
    /// timeout.
    private func check(_ attempt: Int) {
        let (now, next) = (
            NIODeadline.now(),
            state.withLock { state -> (ping: NIODeadline, end: NIODeadline)? in
                guard state.attempt == attempt, state.connection != nil else { return nil }
                return (
                    state.lastSent + TimeAmount(state.timeout / 3), state.lastHeard + TimeAmount(state.timeout * 2 / 3)
                )
            }
        )
        guard let next else { return }
        if now >= next.end {
            return lost(attempt, reason: "The server has sent nothing for too long.", code: .operationTimeout)
        }
        if now >= next.ping {
            state.withLock { state in
                if state.connection?.isOpen == true { state.connection?.ping() }
                state.lastSent = now
            }
            flush()
            return check(attempt)
        }
        let check = loop.scheduleTask(deadline: min(next.ping, next.end)) { self.check(attempt) }
        state.withLock { $0.check = check }
    }

    /// Ends the requests that were sent, and tries the next server after a moment.
    fileprivate func lost(
        _ attempt: Int, reason: String, code: ZooKeeperError.Code = .connectionLoss, _ error: ProtocolError? = nil
    ) {
        let (phase, channel, events, closed) = state.withLock {
            state -> (Phase?, (any Channel)?, [ServerConnection.Event], DispatchSemaphore?) in
            guard state.attempt == attempt else { return (nil, nil, [], nil) }
            state.attempt += 1
            state.check?.cancel()
            defer { (state.channel, state.connection, state.closed, state.check) = (nil, nil, nil, nil) }
            let phase = state.phase
            if phase == .associating || phase == .connected { state.phase = .connecting }
            state.lastZxid = state.connection?.lastZxid ?? state.lastZxid
            let code = phase == .authenticationFailed ? ZooKeeperError.Code.authenticationFailed : code
            // A closed handle reports nothing more.
            return (
                phase, state.channel, phase == .closed ? [] : state.connection?.end(code: code, error) ?? [],
                state.closed
            )
        }
        closed?.signal()
        guard let phase else { return }
        channel?.close(promise: nil)
        for event in events { handle(event) }
        switch phase {
        case .expired, .authenticationFailed, .closed: return
        case .connected: delegate.sessionEvent(id, phase: .connecting)
        case .connecting, .associating: break
        }
        // A server that accepts the session and ends the connection at once counts as one that does not accept it.
        if phase == .connected, state.withLock({ $0.connectedAt + .seconds(1) < .now() }) { servers.value.reset() }
        delegate.attemptFailed(id, reason: reason)
        loop.scheduleTask(in: TimeAmount(servers.value.delay())) { self.connect() }
    }
}

/// Passes what happens on a connection to the handle.
private final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let handle: NIOSessionHandle
    private let attempt: Int
    private var failure: (any Error)?

    init(_ handle: NIOSessionHandle, attempt: Int) {
        self.handle = handle
        self.attempt = attempt
    }

    func channelActive(context: ChannelHandlerContext) { handle.connected(attempt, context.channel) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { handle.received(attempt, unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = failure ?? error
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        handle.lost(attempt, reason: failure.map { "\($0)" } ?? "The server has closed the connection.")
    }
}
