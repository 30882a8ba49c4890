import Synchronization
package import ZooKeeper

/// A client of an ``InMemoryZooKeeper``, as one process would have it.
///
/// It behaves like a `ZooKeeperClient`: calls wait for a connection, reads are repeated after a lost response, and a
/// new session replaces an expired one.
public final class InMemorySession: Sendable {
    let zookeeper: InMemoryZooKeeper
    private let name: String
    private let timeout: Duration
    private let requestTimeout: Duration
    let identities: [AuthInfo]
    package let watches = WatchTable()
    let source: SessionStateSource
    private let state: Mutex<State>

    /// How long the client stays disconnected after a fault has broken its connection.
    private static let reconnectDelay = Duration.milliseconds(20)

    private struct Call {
        let request: Request
        let context: RequestContext
        var waiter: CheckedContinuation<Reply, any Error>?
        var isSent = false
        /// Cleared when the request is sent, because a fault affects a call only once.
        var fault: Fault?
        var deadline: ScheduledAction?
    }
    private struct State {
        var sessionID: Int64 = 0
        /// Counts the connections. Packets of an earlier connection are lost.
        var connection = 0
        /// Writes that are still in transit between the servers although their connection was lost.
        var delayedWrites: [(request: Request, session: Int64)] = []
        var isConnected = false
        var isPaused = false
        /// When the client and the servers last heard from each other. Set while the client is
        /// disconnected or its process is stopped.
        var lastContact: Duration?
        var isClosed = false
        var calls: [UInt64: Call] = [:]
        /// Calls that wait for a connection, in order.
        var unsent: [UInt64] = []
        var nextCall: UInt64 = 0
        var callCount = 0
        /// When the last packet in transit will have arrived in each direction. Later packets do not overtake it.
        var upstream = Duration.zero
        var downstream = Duration.zero
        /// The timers of the pending reconnect, of the phase `suspended`, and of the expiry.
        var timers: [ScheduledAction] = []
        var faults: FaultPlan?
    }

    init(
        _ zookeeper: InMemoryZooKeeper, name: String, timeout: Duration, requestTimeout: Duration,
        identities: [AuthInfo], faults: FaultPlan?
    ) {
        self.zookeeper = zookeeper
        self.name = name
        self.timeout = timeout
        self.requestTimeout = requestTimeout
        self.identities = identities
        source = SessionStateSource(.init(phase: .connecting, sessionID: 0, timeout: timeout, expirations: 0))
        state = Mutex(State(faults: faults))
    }

    // MARK: Control of the session

    /// Breaks the connection. Calls in flight receive no response, and the client repeats reads among them later.
    ///
    /// - Parameter duration: How long the client cannot reach a server. The session expires when it is
    ///   longer than the session timeout.
    public func disconnect(for duration: Duration) {
        breakConnection()
        let isClosed = state.withLock { $0.isClosed }
        guard !isClosed else { return }
        schedule(after: duration) { [weak self] in self?.connect() }
        let (zookeeper, sessionID) = (zookeeper, sessionID)
        let (untilSuspension, untilExpiry) = (remainder(timeout * 2 / 3), remainder(timeout))
        if duration > untilSuspension {
            schedule(after: untilSuspension) { [source] in
                source.update { if $0.phase == .disconnected { $0 = $0.with(.suspended) } }
            }
        }
        if duration > untilExpiry { schedule(after: untilExpiry) { zookeeper.endSession(sessionID) } }
    }

    /// Returns what remains of a duration that began when the client and the servers last heard from each other.
    private func remainder(_ time: Duration) -> Duration {
        let now = zookeeper.timeline.now
        return max(.zero, time - (now - (state.withLock { $0.lastContact } ?? now)))
    }

    /// Ends the session at the servers. The client notices at once and opens another session.
    public func expire() {
        zookeeper.endSession(sessionID)
        breakConnection(code: .sessionExpired)
        connect()
    }

    /// Stops the process, as SIGSTOP does. It sends nothing and reads no response, and it does not notice that. The
    /// process continues after the duration, and then learns whether its session has expired.
    public func pause(for duration: Duration) {
        let now = zookeeper.timeline.now
        let canPause = state.withLock { state in
            guard state.isConnected, !state.isPaused else { return false }
            state.isPaused = true
            state.lastContact = now
            return true
        }
        // Without a connection, nothing is sent or read anyway.
        guard canPause else { return }
        let (timeout, zookeeper, sessionID) = (timeout, zookeeper, sessionID)
        if duration > timeout { schedule(after: timeout) { zookeeper.endSession(sessionID) } }
        schedule(after: duration) { [weak self] in
            self?.breakConnection()
            self?.connect()
        }
    }

    /// Ends the process, as SIGKILL does. It sends nothing more, and the session expires after its timeout.
    public func crash() {
        let sessionID = sessionID
        end()
        let zookeeper = zookeeper
        _ = zookeeper.timeline.after(timeout) { zookeeper.endSession(sessionID) }
    }

    /// Closes the session in an orderly way.
    public func close() {
        let sessionID = sessionID
        applyDelayedWrites()
        end()
        zookeeper.endSession(sessionID)
    }

    /// Removes the fault plan. No more faults occur.
    public func clearFaults() { state.withLock { $0.faults = nil } }

    /// Whether the process is stopped.
    public var isPaused: Bool { state.withLock { $0.isPaused } }

    /// The number of calls so far.
    public var callCount: Int { state.withLock { $0.callCount } }

    private var sessionID: Int64 { state.withLock { $0.sessionID } }

    private func end() {
        state.withLock { $0.isClosed = true }
        breakConnection(code: .closing)
        source.update { $0 = $0.with(.closed) }
        watches.end()
        let waiting = state.withLock { state in
            defer { state.unsent = [] }
            return state.unsent
        }
        for id in waiting { finish(id, .failure(Self.closed)) }
    }

    private static let closed = ZooKeeperError(
        code: .closed, message: "The ZooKeeper client is closed. Create another one.", path: nil, outcome: .notApplied)

    private func schedule(after duration: Duration, _ action: @escaping @Sendable () -> Void) {
        let timer = zookeeper.timeline.after(duration, action)
        state.withLock { $0.timers.append(timer) }
    }

    // MARK: The connection

    /// Connects, with the old session if it is still alive.
    func connect() {
        let (old, isClosed) = state.withLock { state in
            defer { state.timers = [] }
            for timer in state.timers { timer.cancel() }
            return (state.sessionID, state.isClosed)
        }
        guard !isClosed else { return }
        let id = zookeeper.isAlive(old) ? old : zookeeper.openSession(for: self)
        let hasExpired = old != 0 && id != old
        let timeout = timeout
        source.update {
            let expirations = $0.expirations + (hasExpired ? 1 : 0)
            $0 = SessionState(phase: .connected, sessionID: id, timeout: timeout, expirations: expirations)
        }
        let waiting = state.withLock { state in
            state.sessionID = id
            state.isConnected = true
            state.lastContact = nil
            defer { state.unsent = [] }
            return state.unsent
        }
        watches.reconnected()
        for call in waiting { send(call) }
    }

    /// Breaks the connection.
    ///
    /// - Parameter code: The error code of the writes in flight, whose outcome is unknown.
    private func breakConnection(code: ZooKeeperError.Code = .connectionLoss) {
        let now = zookeeper.timeline.now
        let (sessionID, lost, repeated) = state.withLock { state -> (Int64, [UInt64], [UInt64]) in
            for timer in state.timers { timer.cancel() }
            state.timers = []
            (state.isConnected, state.isPaused) = (false, false)
            state.lastContact = state.lastContact ?? now
            state.connection += 1
            (state.upstream, state.downstream) = (.zero, .zero)
            let sent = state.calls.filter { $0.value.isSent }
            let reads = sent.filter { $0.value.request.isRead }.keys.sorted()
            for id in reads { state.calls[id]?.isSent = false }
            state.unsent = (reads + state.unsent)
            return (state.sessionID, sent.filter { !$0.value.request.isRead }.keys.sorted(), reads)
        }
        zookeeper.disconnected(sessionID)
        source.update { if $0.phase == .connected { $0 = $0.with(.disconnected) } }
        for id in repeated { setDeadline(id) }
        for id in lost { finish(id, .failure(noResponse(id, code))) }
    }

    private func noResponse(_ id: UInt64, _ code: ZooKeeperError.Code) -> ZooKeeperError {
        let path = state.withLock { $0.calls[id]?.request.path }
        return ZooKeeperError(code: code, path: path, sent: true)
    }

    // MARK: Calls

    /// Sends a request, or keeps it until there is a connection.
    ///
    /// - Returns: The response.
    func perform(_ request: Request) async throws -> Reply {
        try request.validate(maximumSize: maximumRequestSize)
        try Task.checkCancellation()
        let id = state.withLock { state in
            state.nextCall += 1
            return state.nextCall
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { begin(id, request, $0) }
        } onCancel: {
            finish(id, .failure(CancellationError()))
        }
    }

    private func begin(_ id: UInt64, _ request: Request, _ waiter: CheckedContinuation<Reply, any Error>) {
        if Task.isCancelled { return waiter.resume(throwing: CancellationError()) }
        let canSend = state.withLock { state -> Bool? in
            if state.isClosed { return nil }
            state.callCount += 1
            let context = RequestContext(
                session: name, number: state.callCount, request: request.name, path: request.firstPath,
                isRead: request.isRead)
            state.calls[id] = Call(request: request, context: context, waiter: waiter, fault: state.faults?(context))
            if state.isConnected && !state.isPaused { return true }
            state.unsent.append(id)
            return false
        }
        switch canSend {
        case nil: waiter.resume(throwing: Self.closed)
        case true?: send(id)
        case false?: setDeadline(id)
        }
    }

    private func setDeadline(_ id: UInt64) {
        let timer = zookeeper.timeline.after(requestTimeout) { [weak self] in self?.deadlinePassed(id) }
        let isLate = state.withLock { state in
            guard state.calls[id]?.deadline == nil else { return true }
            state.calls[id]?.deadline = timer
            return state.calls[id] == nil
        }
        if isLate { timer.cancel() }
    }

    private func deadlinePassed(_ id: UInt64) {
        let (isUnknown, path) = state.withLock { state in
            state.unsent.removeAll { $0 == id }
            let call = state.calls[id]
            return (call?.isSent == true && call?.request.isRead == false, call?.request.path)
        }
        finish(
            id,
            .failure(
                ZooKeeperError(
                    code: .deadlineExceeded, message: "No response arrived before the deadline.", path: path,
                    outcome: isUnknown ? .unknown : .notApplied)))
    }

    private func finish(_ id: UInt64, _ result: Result<Reply, any Error>) {
        let call = state.withLock { $0.calls.removeValue(forKey: id) }
        call?.deadline?.cancel()
        call?.waiter?.resume(with: result)
    }

    // MARK: Delivery of packets

    /// A request that was sent.
    private struct Packet: Sendable {
        let id: UInt64
        let request: Request
        let connection: Int
        let fault: Fault?
        let wait: Duration
    }

    private func send(_ id: UInt64) {
        let latency = zookeeper.latency
        let now = zookeeper.timeline.now
        let packet = state.withLock { state -> Packet? in
            guard var call = state.calls[id] else { return nil }
            let fault = call.fault
            call.fault = nil
            call.isSent = true
            state.calls[id] = call
            if fault == .requestTooLate { state.upstream = now + requestTimeout + .seconds(1) }
            state.upstream = max(state.upstream, now + (latency?() ?? .zero))
            return Packet(
                id: id, request: call.request, connection: state.connection, fault: fault, wait: state.upstream - now)
        }
        guard let packet else { return }
        if packet.fault == .replyTooLate || packet.fault == .requestTooLate { setDeadline(id) }
        transmit(packet.wait) { [weak self] in self?.arrive(packet) }
    }

    private func transmit(_ wait: Duration, _ action: @escaping @Sendable () -> Void) {
        guard wait > .zero else { return action() }
        _ = zookeeper.timeline.after(wait, action)
    }

    /// Applies the writes that were in transit between the servers.
    private func applyDelayedWrites() {
        let writes = state.withLock { state in
            defer { state.delayedWrites = [] }
            return state.delayedWrites
        }
        for (request, sessionID) in writes { _ = zookeeper.apply(request, of: sessionID, isStale: false) }
    }

    /// Handles a request that has arrived at the server. Applies it even when its caller has given it
    /// up, unless its connection was lost.
    private func arrive(_ packet: Packet) {
        let (connection, sessionID) = state.withLock { ($0.connection, $0.sessionID) }
        guard connection == packet.connection else { return }
        if let limit = zookeeper.maximumPacketSize, packet.request.encodedSize > limit {
            return disconnect(for: Self.reconnectDelay)
        }
        // Requests that go through the leader arrive after the writes in transit.
        if packet.request.goesThroughTheLeader { applyDelayedWrites() }
        let (id, request, fault) = (packet.id, packet.request, packet.fault)
        func apply() -> Result<Reply, ZooKeeperError> {
            zookeeper.apply(request, of: sessionID, isStale: fault == .staleRead)
        }
        switch fault {
        case nil, .staleRead?: respond(id, connection, apply())
        case .replyTooLate?, .requestTooLate?: _ = apply()
        case .requestLost?: disconnect(for: Self.reconnectDelay)
        case .replyLost?:
            _ = apply()
            disconnect(for: Self.reconnectDelay)
        case .appliedLate?:
            disconnect(for: Self.reconnectDelay)
            guard !request.isRead else { return }
            state.withLock { $0.delayedWrites.append((request, sessionID)) }
            _ = zookeeper.timeline.after(Self.reconnectDelay * 5) { [weak self] in self?.applyDelayedWrites() }
        case .expiredBefore?: expire()
        case .expiredAfter?:
            _ = apply()
            expire()
        case .moved?:
            if !request.isRead {
                finish(
                    id,
                    .failure(
                        ZooKeeperError(code: .sessionMoved, path: request.path, sent: true)))
            }
            disconnect(for: Self.reconnectDelay)
        }
    }

    private func respond(_ id: UInt64, _ connection: Int, _ result: Result<Reply, ZooKeeperError>) {
        downstream { [weak self] in
            guard let self, state.withLock({ $0.connection == connection && !$0.isPaused }) else { return }
            finish(id, result.mapError { $0 })
        }
    }

    /// Receives the event of a watch from the server.
    func receive(_ event: WatchEvent) {
        let connection = state.withLock { $0.connection }
        downstream { [weak self] in
            guard let self, state.withLock({ $0.connection == connection && !$0.isPaused }) else { return }
            watches.received(event)
        }
    }

    private func downstream(_ action: @escaping @Sendable () -> Void) {
        let latency = zookeeper.latency
        let now = zookeeper.timeline.now
        let wait = state.withLock { state in
            state.downstream = max(state.downstream, now + (latency?() ?? .zero))
            return state.downstream - now
        }
        transmit(wait, action)
    }
}

extension SessionState {
    fileprivate func with(_ phase: Phase) -> SessionState {
        SessionState(phase: phase, sessionID: sessionID, timeout: timeout, expirations: expirations)
    }
}

extension Request {
    fileprivate var goesThroughTheLeader: Bool {
        if case .sync = self { true } else { !isRead }
    }

    fileprivate var firstPath: String {
        if case .multi(let operations) = self { return operations.first?.path ?? "" }
        return path ?? ""
    }
}
