import Dispatch
import Logging
import Synchronization

extension Connection {
    func startHeartbeat() {
        guard !hasHeartbeat else { return }
        hasHeartbeat = true
        watchForExpiry()
        onQueue(after: .milliseconds(500)) { $0.heartbeat() }
    }

    /// Checks what no callback reports: whether other servers must be tried, and whether the ensemble has lost data.
    /// Sends a heartbeat on an idle connection, because the session would become `suspended` without requests.
    func heartbeat() {
        drainLog(force: false)
        switch phase {
        case .open(let handle):
            tryOtherServers(handle)
            if case .open(let current) = phase, current.id == handle.id { checkForLostData(handle) }
        case .opening: break
        case .idle, .closing, .closed:
            hasHeartbeat = false
            return
        }
        if requests.read({ $0.inFlight == 0 }), idleTime >= session.current.timeout / 4, case .open(let handle) = phase,
            handle.isConnected
        {
            sendHeartbeat()
        }
        onQueue(after: untilNextCheck) { $0.heartbeat() }
    }

    /// Runs soon after a lost connection.
    func checkServers() {
        if case .open(let handle) = phase { tryOtherServers(handle) }
    }

    /// The time since a server last responded. Zero while there is no session.
    private nonisolated var idleTime: Duration {
        guard session.current.sessionID != 0, let heard = requests.read({ $0.lastHeard }) else { return .zero }
        return heard.duration(to: .now)
    }

    /// The delay until the next check.
    private nonisolated var untilNextCheck: Duration {
        let state = session.current
        if state.sessionID == 0 { return .seconds(1) }
        let (idleTime, quarter, suspension) = (idleTime, state.timeout / 4, state.timeout * 2 / 3)
        if idleTime < quarter { return quarter - idleTime }
        if idleTime < suspension { return min(suspension - idleTime, quarter) }
        return state.timeout / 12
    }

    /// Reports in time that the session is `suspended`. It runs on a separate queue, because a slow name server
    /// may block the connection's queue.
    private nonisolated func watchForExpiry() {
        updateSuspension()
        if session.current.phase == .closed { return }
        expiryQueue.asyncAfter(deadline: .now() + .milliseconds(Int(untilNextCheck.milliseconds) + 1)) { [weak self] in
            self?.watchForExpiry()
        }
    }

    /// Updates the session's state when it becomes `suspended`, or is no longer.
    nonisolated func updateSuspension() {
        let state = session.current
        guard state.sessionID != 0 else { return }
        let idleTime = idleTime
        let isSuspended = idleTime >= state.timeout * 2 / 3
        session.update { state in
            if isSuspended, state.phase == .connected || state.phase == .disconnected { state.phase = .suspended }
            if !isSuspended, state.phase == .suspended { state.phase = .connected }
        }
        if isSuspended, state.phase != .suspended {
            logger.info(
                "The ZooKeeper session is suspended: no server responds", metadata: ["idleTime": "\(idleTime)"])
        }
    }

    /// Sends a cheap request, because the C client does not report the responses to its own pings; see
    /// "Sessions and credentials" in <doc:OverTheCClient>.
    func sendHeartbeat() {
        let token = nextToken()
        heartbeatToken.store(token, ordering: .relaxed)
        requests.submit(
            PendingRequest(token: token, request: .exists(path: "/", watch: false), deadline: .now, waiter: nil))
        drain()
    }

    func drainLog(force: Bool) {
        let now = ContinuousClock.now
        guard force || now - lastLogDrain >= .milliseconds(900) else { return }
        lastLogDrain = now
        let (lines, dropped) = CClientLog.shared.drain(limit: 10)
        for line in lines {
            logger.debug("C client message", metadata: ["level": "\(line.level)", "text": "\(line.text)"])
        }
        if dropped > 0 { logger.debug("Dropped C client messages", metadata: ["dropped": "\(dropped)"]) }
    }
}
