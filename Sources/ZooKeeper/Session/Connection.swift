import CoreMetrics
import Dispatch
import Logging
import Synchronization

/// Owns the handle of a session, and opens and closes it on its own queue. Requests go through a ``SubmissionLock``,
/// one thread at a time; see "Calls and callbacks" in <doc:OverTheCClient>. The threads of the transport call only the
/// ``SessionHandleDelegate`` methods, which do not wait.
///
/// It opens a session at the first call, opens another one when the session has expired, and closes once.
actor Connection {
    enum Phase {
        /// No call was made yet. Can transition to opening, closing.
        case idle
        /// A handle is to be opened, now or after a delay. Can transition to open, closing.
        case opening
        /// There is a handle, connected or not. Can transition to opening (the session has ended, or another
        /// handle takes it over) and closing.
        case open(any SessionHandle)
        /// `close()` is in progress. Can transition to closed.
        case closing((any SessionHandle)?)
        case closed
    }

    nonisolated let requests: RequestRegistry
    nonisolated let watches: WatchTable
    nonisolated let session = SessionStateSource(SessionState())
    nonisolated let submissionLock = SubmissionLock()
    private nonisolated let executor = QueueExecutor(label: "zookeeper.connection")
    private nonisolated let client = CallbackRegistry.shared.nextClient()
    private nonisolated let nextSerial = Atomic<UInt64>(1)
    private nonisolated let isDrainScheduled = Atomic<Bool>(false)
    private nonisolated let isStarted = Atomic<Bool>(false)
    nonisolated let expiryQueue = DispatchQueue(label: "zookeeper.expiry")
    nonisolated let heartbeatToken = Atomic<UInt64>(0)
    /// Raised when a client that is being closed has no request left in flight.
    private nonisolated let drained = WatchSignal()
    /// Why the last attempt to connect has failed, as far as the transport knows. For an error message.
    private nonisolated let lastFailure: FailureReason
    let configuration: ZooKeeperConfiguration
    let logger: Logger
    private let metrics: ClientMetrics

    var phase = Phase.idle
    private var generation: UInt64 = 0
    private var backoff = Backoff(base: .milliseconds(100), maximum: .seconds(10))
    private var mustAuthenticate = false
    /// The servers to try, and when the client began to try the current ones. The time is `nil` while it is connected.
    var choice: ServerChoice
    var triedSince: ContinuousClock.Instant?
    /// When the connection was lost. `nil` while there is one.
    var disconnectedSince: ContinuousClock.Instant?
    /// The handle that tests whether servers accept new sessions, and since when every check has found that they do.
    var probe: SessionProbe?
    var acceptedSince: ContinuousClock.Instant?
    /// Whether the connection was lost only recently. The transport then still tries its own list of servers.
    var isFirstTry = false
    /// The session that the next handle continues.
    var inherited: SessionIdentity?
    /// Whether the server must catch up with what the session has seen before other requests are sent.
    var mustSync = false
    /// Whether the client may read the ensemble's servers. A server that requires
    /// authentication closes the connection instead.
    var mayReadMembers = true
    var hasHeartbeat = false
    /// The callers of `close()` that wait for an earlier call to finish.
    private var closeWaiters: [CheckedContinuation<Void, Never>] = []
    var lastLogDrain = ContinuousClock.now

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(configuration: ZooKeeperConfiguration, logger: Logger, metrics: ClientMetrics) {
        self.configuration = configuration
        self.logger = logger
        self.metrics = metrics
        choice = ServerChoice(configured: configuration.servers)
        let watches = WatchTable()
        self.watches = watches
        let session = session
        let lastFailure = FailureReason()
        self.lastFailure = lastFailure
        requests = RequestRegistry(
            queue: RequestStateMachine(
                window: configuration.maximumInFlightRequests, windowBytes: configuration.maximumInFlightBytes,
                maximumWaiting: configuration.maximumQueuedRequests),
            watches: watches,
            hint: {
                switch session.current.phase {
                case .connected: "The client is connected. Allow more time, or send fewer requests at once."
                case .connecting, .disconnected, .suspended:
                    """
                    No server responds. Check the configured addresses (\(configuration.servers)), and whether a \
                    majority of the servers is up.\(lastFailure.sentence)
                    """
                case .closed: "The ZooKeeper client is closed. Create another one."
                }
            })
    }

    // MARK: Requests

    /// Returns a number for a request. It contains the number of this client.
    nonisolated func nextToken() -> UInt64 {
        client << 40 | nextSerial.wrappingAdd(1, ordering: .relaxed).oldValue & 0xFF_FFFF_FFFF
    }

    /// Adds requests, which are sent as soon as the session and the in-flight limit allow it.
    nonisolated func submit(_ pending: PendingRequest...) { submit(pending) }

    nonisolated func submit(_ pending: [PendingRequest]) {
        for request in pending { requests.submit(request) }
        start()
        if !submissionLock.drainIfFree(requests) { scheduleDrain() }
    }

    /// Opens a session at the first call, and does nothing afterwards.
    nonisolated func start() {
        if isStarted.load(ordering: .relaxed) || isStarted.exchange(true, ordering: .relaxed) { return }
        onQueue { $0.begin() }
    }

    /// Schedules the sending of waiting requests. Many callers share one job of the queue.
    private nonisolated func scheduleDrain() {
        if isDrainScheduled.exchange(true, ordering: .acquiringAndReleasing) { return }
        onQueue { $0.drain() }
    }

    nonisolated func onQueue(
        after delay: Duration = .zero, _ body: @escaping @Sendable (isolated Connection) -> Void
    ) {
        if delay <= .zero {
            executor.queue.async { self.assumeIsolated(body) }
        } else {
            executor.queue.asyncAfter(deadline: .now() + .milliseconds(Int(delay.milliseconds) + 1)) {
                self.assumeIsolated(body)
            }
        }
    }

    func drain() {
        isDrainScheduled.store(false, ordering: .releasing)
        submissionLock.drain(requests)
    }

    // MARK: Opening

    private func begin() {
        guard case .idle = phase else { return }
        phase = .opening
        open()
    }

    func open() {
        guard case .opening = phase else { return }
        CallbackRegistry.shared.add(self, client: client)
        let id = nextHandleID()
        do {
            let timeout = inherited == nil ? configuration.sessionTimeout : session.current.timeout
            let handle = try configuration.transport.open(
                SessionHandleOptions(
                    id: id, servers: choice.current, sessionTimeout: timeout, session: inherited), self)
            phase = .open(handle)
            triedSince = .now
            mustSync = inherited != nil
            mustAuthenticate = configuration.authentication != nil
            if !mustSync { submissionLock.use(handle) }
            authenticateIfNeeded(handle)
            startHeartbeat()
        } catch {
            lastFailure.set(error.reason)
            logger.info(
                "Cannot resolve the addresses of the ZooKeeper servers", metadata: ["reason": "\(error.reason)"])
            _ = choice.tryOther()
            reopen()
        }
    }

    private func nextHandleID() -> HandleID {
        generation += 1
        return HandleID(client: client, generation: generation)
    }

    /// Opens a second handle. The connection ignores its events, as it ignores those of
    /// every handle but the current one.
    func openProbe() {
        probe = SessionProbe(
            configuration.transport,
            SessionHandleOptions(
                id: nextHandleID(), servers: choice.current, sessionTimeout: configuration.sessionTimeout,
                session: nil))
    }

    private func authenticateIfNeeded(_ handle: any SessionHandle) {
        guard mustAuthenticate, let authentication = configuration.authentication else { return }
        submissionLock.isAuthenticating = true
        let error = handle.authenticate(scheme: authentication.scheme, credentials: authentication.credentials)
        // The C client refuses credentials between two attempts to connect. The next session event tries again; see
        // "Sessions and credentials" in <doc:OverTheCClient>.
        mustAuthenticate = error != nil
    }

    private func reopen() {
        phase = .opening
        onQueue(after: backoff.next()) { $0.open() }
    }

    /// Removes abandoned watches when there are many.
    func removeAbandonedWatches() {
        for (token, key) in watches.takeAbandoned(token: nextToken) {
            if let error = submissionLock.removeWatches(key, token: token) { watches.removed(token, error: error) }
        }
    }

    // MARK: The session

    private func sessionEvent(_ id: HandleID, phase event: SessionHandlePhase, at instant: ContinuousClock.Instant) {
        guard case .open(let handle) = phase, handle.id == id else { return }
        switch event {
        case .connected: connected(handle, at: instant)
        case .connecting:
            authenticateIfNeeded(handle)
            submissionLock.sessionIsConnected(false)
            session.update { state in
                if state.phase == .connected { state.phase = .disconnected }
            }
            logger.debug("The connection to ZooKeeper is lost")
            (triedSince, isFirstTry) = (.now, true)
            disconnectedSince = disconnectedSince ?? .now
            onQueue(after: firstPatience(session.current.timeout)) { $0.checkServers() }
        case .expired: ended(handle, reason: "session expired")
        case .authenticationFailed:
            requests.updateAll { $0.failWaiting(.authenticationFailed) }
            ended(handle, reason: "authentication failed")
        case .other: break
        }
    }

    private func connected(_ handle: any SessionHandle, at instant: ContinuousClock.Instant) {
        authenticateIfNeeded(handle)
        if !submissionLock.isAuthenticating { backoff.reset() }
        (triedSince, disconnectedSince) = (nil, nil)
        lastFailure.set(nil)
        closeProbe()
        requests.read { $0.heard(at: instant) }
        let (id, timeout) = (handle.sessionIdentity?.number ?? 0, handle.sessionTimeout)
        let isFirst =
            session.current.reconnections == 0 && session.current.sessionID == 0 && session.current.expirations == 0
        session.update { state in
            if !isFirst { state.reconnections += 1 }
            state.phase = .connected
            state.sessionID = id
            state.timeout = timeout
        }
        if !isFirst { metrics.reconnections.increment() }
        logger.debug(
            "Connected to ZooKeeper", metadata: ["session": "0x\(String(id, radix: 16))", "timeout": "\(timeout)"])
        watches.reconnected()
        submissionLock.sessionIsConnected(true)
        if watches.hasAbandonedPersistent { removeAbandonedWatches() }
        if mustSync { catchUp(handle) }
        drain()
        readMembers()
    }

    /// Closes a dead handle at once and opens a new session; see "Sessions and credentials" in <doc:OverTheCClient>.
    func ended(_ handle: any SessionHandle, reason: String) {
        logger.info(
            "The ZooKeeper session has ended: ephemeral nodes and leases are gone", metadata: ["reason": "\(reason)"])
        metrics.expirations.increment()
        phase = .opening
        inherited = nil
        closeProbe()
        closeHandle(handle)
        session.update { state in
            state.phase = .connecting
            state.sessionID = 0
            state.expirations += 1
        }
        reopen()
    }

    func closeHandle(_ handle: any SessionHandle) {
        submissionLock.use(nil)
        handle.close()
        // A transport may drop completions when it closes (ZOOKEEPER-2894), so this ends the remaining requests.
        requests.updateAll { $0.handleClosed() }
        watches.handleClosed()
        drainLog(force: true)
    }

    /// The credentials with which another handle can take over the session. For tests.
    var sessionIdentity: SessionIdentity? {
        guard case .open(let handle) = phase else { return nil }
        return handle.sessionIdentity
    }

    // MARK: Closing

    /// How long closing waits for the responses to requests in flight.
    private static let drainLimit = Duration.seconds(3)
    /// The maximum duration of `close()`. With a server that hangs, closing takes ``drainLimit`` and usually
    /// another second and a half in the C client. Full sockets and name servers that do not respond take
    /// longer, and continue in the background.
    private static let closeLimit = Duration.seconds(5)

    /// Refuses new calls, waits for requests in flight, closes the handle and ends every sequence.
    ///
    /// Returns when that is done, or after ``closeLimit``. Another call waits for the same end. Call it
    /// from a task that is not cancelled.
    nonisolated func close() async {
        isStarted.store(true, ordering: .relaxed)
        // Done here, because the connection's own queue may be blocked.
        requests.updateAll { $0.close() }
        let isDone = WatchSignal()
        Task {
            await shutDown()
            isDone.end()
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(Int(Self.closeLimit.milliseconds))) {
            isDone.end()
        }
        await isDone.wait()
        // The sequences end even when the rest continues in the background.
        watches.end()
        session.update { $0.phase = .closed }
    }

    private func shutDown() async {
        switch phase {
        case .closed: return
        case .closing: return await withCheckedContinuation { closeWaiters.append($0) }
        case .idle, .opening: phase = .closing(nil)
        case .open(let handle): phase = .closing(handle)
        }
        if case .closing(.some) = phase, requests.read({ $0.inFlight > 0 }) {
            let state = session.current
            // The transport itself gives up requests after two thirds of the session timeout.
            let patience = (state.timeout == .zero ? configuration.sessionTimeout : state.timeout) * 2 / 3
            onQueue(after: min(patience, Self.drainLimit)) { $0.drained.end() }
            while requests.read({ $0.inFlight > 0 }), !drained.hasEnded { await drained.wait() }
        }
        finish()
    }

    /// Closes without waiting for requests in flight, because the client object no longer exists.
    nonisolated func abandon() {
        onQueue { connection in
            switch connection.phase {
            case .closing, .closed: return
            case .idle, .opening: connection.phase = .closing(nil)
            case .open(let handle): connection.phase = .closing(handle)
            }
            connection.requests.updateAll { $0.close() }
            connection.finish()
        }
    }

    private func finish() {
        guard case .closing(let handle) = phase else { return }
        closeProbe()
        if let handle { closeHandle(handle) }
        phase = .closed
        CallbackRegistry.shared.remove(client: client)
        watches.end()
        session.update { $0.phase = .closed }
        for waiter in closeWaiters { waiter.resume() }
        closeWaiters = []
        logger.debug("The ZooKeeper client is closed")
    }
}

// MARK: - From the transport's threads

extension Connection: SessionHandleDelegate {
    nonisolated func sessionEvent(_ handle: HandleID, phase: SessionHandlePhase) {
        let instant = ContinuousClock.now
        // A dispatch queue keeps the order of the transport's thread, and tasks would not; see
        // "Calls and callbacks" in <doc:OverTheCClient>.
        onQueue { $0.sessionEvent(handle, phase: phase, at: instant) }
    }

    nonisolated func watchEvent(_ event: WatchEvent) {
        watches.received(event)
        if event.path.isIdentical(to: EnsembleMembers.path) { onQueue { $0.readMembers() } }
    }

    nonisolated func armedWatches() -> [WatchKey] { watches.armed }

    nonisolated func attemptFailed(_ handle: HandleID, reason: String) {
        onQueue { connection in
            guard case .open(let current) = connection.phase, current.id == handle else { return }
            connection.lastFailure.set(reason)
        }
        logger.debug("No connection to a ZooKeeper server", metadata: ["reason": "\(reason)"])
    }

    nonisolated func watchesRemoved(_ token: UInt64, error: ZooKeeperError.Code?) {
        let path = watches.removed(token, error: error)
        // The client's own watch may be gone too.
        if path?.isIdentical(to: EnsembleMembers.path) == true { onQueue { $0.readMembers() } }
    }

    nonisolated func authenticated(_ handle: HandleID, error: ZooKeeperError.Code?) {
        onQueue { connection in
            guard case .open(let current) = connection.phase, current.id == handle else { return }
            connection.submissionLock.isAuthenticating = false
            if error == nil { connection.backoff.reset() }
            connection.drain()
        }
    }

    nonisolated func completed(_ token: UInt64, error: ZooKeeperError.Code?, reply: Reply?) {
        requests.update { $0.complete(token, error: error, reply: reply) }
        let (hasWork, isIdle) = requests.read { ($0.hasWork, $0.inFlight == 0) }
        if hasWork { scheduleDrain() }
        if isIdle { drained.raise() }
        if watches.hasAbandonedPersistent { onQueue { $0.removeAbandonedWatches() } }
        if token == heartbeatToken.load(ordering: .relaxed), session.current.phase == .suspended {
            onQueue { $0.updateSuspension() }
        }
    }
}
