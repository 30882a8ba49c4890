import Dispatch
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import ZooKeeper

/// A session over SwiftNIO: one connection at a time, to one server after the other.
///
/// A ``SessionStateMachine`` decides, and the handle acts. Callers write requests into the connection's buffer under a
/// lock, and the event loop flushes what has accumulated. All events of the session are reported on the event loop, in
/// the order in which the server sent them.
final class NIOSessionHandle: SessionHandle {
    private struct LoopState {
        var servers: ServerRotation
        var channel: (any Channel)?
        /// The next check of the connection.
        var check: Scheduled<Void>?
        /// Signalled when the session is closed.
        var closed: DispatchSemaphore?
    }

    let id: HandleID
    private let tls: ZooKeeperTLS?
    private let delegate: any SessionHandleDelegate
    private let loop: any EventLoop
    private let session: Mutex<SessionStateMachine>
    /// Used on the event loop only.
    private let loopState: NIOLoopBoundBox<LoopState>

    init(_ options: SessionHandleOptions, tls: ZooKeeperTLS?, delegate: any SessionHandleDelegate) {
        id = options.id
        self.tls = tls
        self.delegate = delegate
        loop = MultiThreadedEventLoopGroup.singleton.next()
        session = Mutex(SessionStateMachine(session: options.session, timeout: options.sessionTimeout))
        loopState = .makeBoxSendingValue(LoopState(servers: ServerRotation(options.servers)), eventLoop: loop)
        loop.execute { self.connect() }
    }

    // MARK: From any thread

    var isConnected: Bool { session.withLock { $0.isConnected } }
    var isDisconnected: Bool { session.withLock { $0.isDisconnected } }
    var hasEnded: Bool { session.withLock { $0.hasEnded } }
    var sessionIdentity: SessionIdentity? { session.withLock { $0.session } }
    var sessionTimeout: Duration { session.withLock { $0.timeout } }

    func authenticate(scheme: String, credentials: String) -> ZooKeeperError.Code? {
        session.withLock { session in
            session.authenticate(scheme: scheme, credentials: credentials)
            scheduleFlush(&session)
        }
        return nil
    }

    func send(_ request: Request, token: UInt64) -> ZooKeeperError.Code? {
        session.withLock { session in
            guard session.send(request, token: token) else { return .invalidState }
            scheduleFlush(&session)
            return nil
        }
    }

    func removeWatches(_ key: WatchKey, token: UInt64) -> ZooKeeperError.Code? {
        session.withLock { session in
            guard session.removeWatches(key, token: token) else { return .invalidState }
            scheduleFlush(&session)
            return nil
        }
    }

    /// Coalesces requests into one write per turn of the event loop.
    private func scheduleFlush(_ session: inout SessionStateMachine) {
        if session.scheduleFlush() { loop.execute { self.flush() } }
    }

    /// How long closing waits for the server to confirm the end of the session.
    private static let closeLimit = DispatchTimeInterval.milliseconds(1_500)

    /// Never called on an event loop, which it would block.
    func close() {
        let closed = DispatchSemaphore(value: 0)
        loop.execute { self.beginClose(signalling: closed) }
        _ = closed.wait(timeout: .now() + Self.closeLimit)
        // Done here, so that nothing is reported after this call, even if the event loop has not closed the session in
        // time.
        session.withLock { $0.close() }
        loop.execute { self.closeConnection() }
    }

    // MARK: On the event loop

    private func beginClose(signalling closed: DispatchSemaphore) {
        guard session.withLock({ $0.beginClose() }) else {
            closed.signal()
            return
        }
        loopState.value.closed = closed
        flush()
    }

    private func closeConnection() {
        loopState.value.check?.cancel()
        loopState.value.channel?.close(promise: nil)
        (loopState.value.check, loopState.value.channel) = (nil, nil)
    }

    private func flush() {
        let bytes = session.withLock { $0.takeOutput(now: .now) }
        if !bytes.isEmpty { loopState.value.channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }
    }

    private func perform(_ actions: [SessionStateMachine.Action]) {
        for action in actions {
            switch action {
            case .completed(let token, let error, let reply): delegate.completed(token, error: error, reply: reply)
            case .watchesRemoved(let token, let error): delegate.watchesRemoved(token, error: error)
            case .watch(let event): delegate.watchEvent(event)
            case .authenticated(let error): delegate.authenticated(id, error: error)
            case .phaseChanged(let phase): delegate.sessionEvent(id, phase: phase)
            case .establish:
                // Not under the lock, because the delegate may hold its own lock while it sends a request.
                let watches = delegate.armedWatches()
                let actions = session.withLock { $0.establish(watches: watches, now: .now) }
                flush()
                perform(actions)
            case .closeConnection: closeConnection()
            case .connectAgain(let reason, let wasStable):
                if wasStable { loopState.value.servers.reset() }
                delegate.attemptFailed(id, reason: reason)
                loop.scheduleTask(in: TimeAmount(loopState.value.servers.delay())) { self.connect() }
            case .confirmClose:
                loopState.value.closed?.signal()
                loopState.value.closed = nil
            }
        }
    }

    /// Tries the next server.
    private func connect() {
        let (attempt, timeout) = session.withLock { ($0.beginAttempt(), $0.timeout) }
        guard let attempt else { return }
        let server = loopState.value.servers.next()
        let patience = TimeAmount(timeout / Int32(max(3, loopState.value.servers.count + 1)))
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
        guard session.withLock({ $0.connected(attempt, now: .now) }) else { return channel.close(promise: nil) }
        loopState.value.channel = channel
        flush()
        check(attempt)
    }

    fileprivate func received(_ attempt: Int, _ bytes: ByteBuffer) {
        perform(
            session.withLock { session in
                bytes.withUnsafeReadableBytes { session.received(attempt, $0, now: .now) }
            })
    }

    fileprivate func lost(_ attempt: Int, reason: String) {
        perform(session.withLock { $0.lost(attempt, reason: reason, now: .now) })
    }

    private func check(_ attempt: Int) {
        let now = ContinuousClock.now
        let (next, actions) = session.withLock { $0.check(attempt, now: now) }
        flush()
        perform(actions)
        guard let next else { return }
        loopState.value.check = loop.scheduleTask(in: TimeAmount(now.duration(to: next))) { self.check(attempt) }
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
