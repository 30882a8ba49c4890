import CoreMetrics
import Dispatch
import Logging
import Synchronization

/// The owner of the library's handle, which it opens and closes on a queue of its own. Requests go through a
/// ``LibraryGate``, one thread at a time (rule 1); the library's threads enter only through the ``LibraryInbox`` methods,
/// which do not wait.
///
/// It opens a session at the first call, opens another when one has expired, and closes it once.
actor Connection {
    enum Phase {
        /// Nothing was asked for yet. Can transition to opening, closed.
        case idle
        /// A session is to be opened, now or after a pause. Can transition to open, closed.
        case opening
        /// There is a handle, connected or not. Can transition to opening (session expired, credentials refused), closed.
        case open(LibraryHandle)
        /// `close()` was called and goes on. Can transition to closed.
        case closing(LibraryHandle?)
        case closed
    }

    nonisolated let desk: CallDesk
    nonisolated let watches: WatchTable
    nonisolated let session = SessionStateSource(SessionState())
    nonisolated let gate = LibraryGate()
    private nonisolated let executor = QueueExecutor(label: "zookeeper.connection")
    private nonisolated let client = LibraryInboxes.shared.nextClient()
    private nonisolated let nextSerial = Atomic<UInt64>(1)
    private nonisolated let isDrainScheduled = Atomic<Bool>(false)
    private nonisolated let isStarted = Atomic<Bool>(false)
    nonisolated let doubtClock = DispatchQueue(label: "zookeeper.doubt")
    nonisolated let heartbeatToken = Atomic<UInt64>(0)
    /// Raised when a client that is being closed has no call left in flight.
    private nonisolated let drained = WatchSignal()
    let configuration: ZooKeeperConfiguration
    let logger: Logger
    private let metrics: ClientMetrics

    var phase = Phase.idle
    private var generation: UInt64 = 0
    private var backoff = Backoff(base: .milliseconds(100), maximum: .seconds(10))
    private var mustAuthenticate = false
    /// Which servers to try, and since when the present ones were tried in vain.
    var choice: ServerChoice
    var triedSince: ContinuousClock.Instant?
    /// When the connection was lost; `nil` while there is one.
    var disconnectedSince: ContinuousClock.Instant?
    /// The handle that tests whether servers accept new sessions, and the time since which every check found that they
    /// do.
    var probe: SessionProbe?
    var acceptedSince: ContinuousClock.Instant?
    /// Whether the present servers are tried by the library alone, since the connection was lost just now.
    var isFirstTry = false
    /// The session that the next handle goes on with.
    var inherited: SessionIdentity?
    /// Whether the present handle must catch up with what its session has seen before anything is sent through it.
    var mustSync = false
    /// Whether the servers close the connection of a client that asks for the members.
    var mayReadMembers = true
    var hasPulse = false
    /// Who has called `close()` while it was under way.
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
        desk = CallDesk(
            queue: CallQueue(
                window: configuration.inFlightWindow, windowBytes: configuration.inFlightBytes,
                maximumWaiting: configuration.maximumWaitingCalls),
            watches: watches,
            hint: {
                switch session.current.phase {
                case .connected: "A server is connected; it may be slow, or the deadline short."
                case .connecting, .suspended, .inDoubt:
                    "No server answers at \(configuration.servers), nor another member of the ensemble: check the addresses and that a majority of the ensemble runs."
                case .closed: "The client is closed."
                }
            })
    }

    // MARK: Calls

    /// A number for a call that names this client.
    nonisolated func nextToken() -> UInt64 {
        client << 40 | nextSerial.wrappingAdd(1, ordering: .relaxed).oldValue & 0xFF_FFFF_FFFF
    }

    /// Takes calls, which are sent as soon as the session and the window allow.
    nonisolated func submit(_ calls: Call...) { submit(calls) }

    nonisolated func submit(_ calls: [Call]) {
        for call in calls { desk.submit(call) }
        start()
        if !gate.drainIfFree(desk) { scheduleDrain() }
    }

    /// Opens a session, unless that was done.
    nonisolated func start() {
        if isStarted.load(ordering: .relaxed) || isStarted.exchange(true, ordering: .relaxed) { return }
        onQueue { $0.begin() }
    }

    /// Hands what waits to the library, soon; many callers share one turn of the queue.
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
        gate.drain(desk)
    }

    // MARK: Opening

    private func begin() {
        guard case .idle = phase else { return }
        phase = .opening
        open()
    }

    func open() {
        guard case .opening = phase else { return }
        LibraryInboxes.shared.add(self, client: client)
        let id = nextHandleID()
        do {
            let timeout = inherited == nil ? configuration.sessionTimeout : session.current.timeout
            let handle = try LibraryHandle(
                id: id, servers: choice.current, sessionTimeout: timeout, session: inherited)
            phase = .open(handle)
            triedSince = .now
            mustSync = inherited != nil
            mustAuthenticate = configuration.authentication != nil
            if !mustSync { gate.use(handle) }
            authenticateIfNeeded(handle)
            startPulse()
        } catch {
            logger.info("ZooKeeper's servers cannot be resolved", metadata: ["reason": "\(error.reason)"])
            _ = choice.tryOther()
            reopen()
        }
    }

    private func nextHandleID() -> HandleID {
        generation += 1
        return HandleID(client: client, generation: generation)
    }

    /// Opens a second handle. Its events are ignored, like those of every handle but the present one.
    func openProbe() {
        probe = SessionProbe(
            id: nextHandleID(), servers: choice.current, sessionTimeout: configuration.sessionTimeout)
    }

    private func authenticateIfNeeded(_ handle: LibraryHandle) {
        guard mustAuthenticate, let authentication = configuration.authentication else { return }
        gate.isAuthenticating = true
        let code = handle.authenticate(scheme: authentication.scheme, credentials: authentication.credentials)
        // The library refuses it between two attempts to connect; the next change of state tries again (rule 30).
        mustAuthenticate = code != 0
    }

    private func reopen() {
        phase = .opening
        onQueue(after: backoff.next()) { $0.open() }
    }

    /// Removes abandoned watches when there are many.
    func removeAbandonedWatches() {
        for (token, key) in watches.takeAbandoned(token: nextToken) {
            let code = gate.removeWatches(key, token: token)
            if code != 0 { watches.removed(token, code: code) }
        }
    }

    // MARK: The session

    private func sessionEvent(_ id: HandleID, phase event: LibrarySessionPhase, at instant: ContinuousClock.Instant) {
        guard case .open(let handle) = phase, handle.id == id else { return }
        switch event {
        case .connected: connected(handle, at: instant)
        case .connecting:
            authenticateIfNeeded(handle)
            session.update { state in
                if state.phase == .connected { state.phase = .suspended }
            }
            logger.debug("The connection to ZooKeeper is lost")
            (triedSince, isFirstTry) = (.now, true)
            disconnectedSince = disconnectedSince ?? .now
            onQueue(after: firstPatience(session.current.timeout)) { $0.lookForServers() }
        case .expired: ended(handle, reason: "session expired")
        case .authenticationFailed:
            desk.updateAll { $0.failWaiting(.authenticationFailed) }
            ended(handle, reason: "authentication failed")
        case .other: break
        }
    }

    private func connected(_ handle: LibraryHandle, at instant: ContinuousClock.Instant) {
        authenticateIfNeeded(handle)
        if !gate.isAuthenticating { backoff.reset() }
        (triedSince, disconnectedSince) = (nil, nil)
        closeProbe()
        desk.read { $0.heard(at: instant) }
        let (id, timeout) = (handle.sessionID, handle.sessionTimeout)
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
        if mustSync { catchUp(handle) }
        drain()
        readMembers()
    }

    /// The handle is dead: it is closed at once and a new session opened (rule 31).
    func ended(_ handle: LibraryHandle, reason: String) {
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

    func closeHandle(_ handle: LibraryHandle) {
        gate.use(nil)
        handle.close()
        // The library may drop completions when it closes (ZOOKEEPER-2894), so what is left ends here.
        desk.updateAll { $0.handleClosed() }
        watches.handleClosed()
        drainLog(force: true)
    }

    /// What another handle needs to take over the session; for tests.
    var sessionIdentity: SessionIdentity? {
        guard case .open(let handle) = phase else { return nil }
        return handle.sessionIdentity
    }

    // MARK: Closing

    /// How long closing waits for the answers of calls in flight.
    private static let drainLimit = Duration.seconds(3)
    /// How long `close()` takes at most. With a server that hangs, it takes the drain and, as a rule, a second and a
    /// half in the library's own close. Full sockets and name servers that do not answer take longer, and go on in the
    /// background.
    private static let closeLimit = Duration.seconds(5)

    /// Refuses new calls, waits for those in flight, closes the handle and ends every sequence. Returns when that is
    /// done, or after ``closeLimit``. Calling it again waits for the same end. Call it from a task that is not
    /// cancelled.
    nonisolated func close() async {
        isStarted.store(true, ordering: .relaxed)
        // Done here, because the connection's own queue may be blocked.
        desk.updateAll { $0.close() }
        let isDone = WatchSignal()
        Task {
            await shutDown()
            isDone.end()
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(Int(Self.closeLimit.milliseconds))) {
            isDone.end()
        }
        await isDone.wait()
        // The sequences end even when the rest goes on in the background.
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
        if case .closing(.some) = phase, desk.read({ $0.inFlight > 0 }) {
            let state = session.current
            // The library itself gives them up after two thirds of the timeout.
            let patience = (state.timeout == .zero ? configuration.sessionTimeout : state.timeout) * 2 / 3
            onQueue(after: min(patience, Self.drainLimit)) { $0.drained.end() }
            while desk.read({ $0.inFlight > 0 }), !drained.hasEnded { await drained.wait() }
        }
        finish()
    }

    /// Closes without waiting for anybody: the client object itself is gone.
    nonisolated func abandon() {
        onQueue { connection in
            switch connection.phase {
            case .closing, .closed: return
            case .idle, .opening: connection.phase = .closing(nil)
            case .open(let handle): connection.phase = .closing(handle)
            }
            connection.desk.updateAll { $0.close() }
            connection.finish()
        }
    }

    private func finish() {
        guard case .closing(let handle) = phase else { return }
        closeProbe()
        if let handle { closeHandle(handle) }
        phase = .closed
        LibraryInboxes.shared.remove(client: client)
        watches.end()
        session.update { $0.phase = .closed }
        for waiter in closeWaiters { waiter.resume() }
        closeWaiters = []
        logger.debug("The ZooKeeper client is closed")
    }
}

// MARK: - From the library's threads

extension Connection: LibraryInbox {
    nonisolated func sessionEvent(_ handle: HandleID, state: Int32) {
        let phase = LibrarySessionPhase(libraryState: state)
        let instant = ContinuousClock.now
        // A dispatch queue keeps the order of the library's one thread, which tasks would not (rule 10).
        onQueue { $0.sessionEvent(handle, phase: phase, at: instant) }
    }

    nonisolated func watchEvent(_ event: WatchEvent) {
        watches.received(event)
        if event.path.isIdentical(to: EnsembleMembers.path) { onQueue { $0.readMembers() } }
    }

    nonisolated func watchesRemoved(_ token: UInt64, code: Int32) { watches.removed(token, code: code) }

    nonisolated func authenticated(_ handle: HandleID, code: Int32) {
        onQueue { connection in
            guard case .open(let current) = connection.phase, current.id == handle else { return }
            connection.gate.isAuthenticating = false
            if code == 0 { connection.backoff.reset() }
            connection.drain()
        }
    }

    nonisolated func completed(_ token: UInt64, code: Int32, reply: Reply?) {
        desk.update { $0.complete(token, code: code, reply: reply) }
        let (hasWork, isIdle) = desk.read { ($0.hasWork, $0.inFlight == 0) }
        if hasWork { scheduleDrain() }
        if isIdle { drained.raise() }
        if token == heartbeatToken.load(ordering: .relaxed), session.current.phase == .inDoubt {
            onQueue { $0.tellDoubt() }
        }
    }
}
