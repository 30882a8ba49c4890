import Dispatch
import Logging
import Synchronization

extension Connection {
    func startPulse() {
        guard !hasPulse else { return }
        hasPulse = true
        watchForDoubt()
        onQueue(after: .milliseconds(500)) { $0.pulse() }
    }

    /// Checks what no callback reports: whether other servers must be tried, and whether the ensemble has lost data.
    /// Sends a heartbeat on an idle connection, because the session would become `suspended` without requests.
    func pulse() {
        drainLog(force: false)
        switch phase {
        case .open(let handle):
            tryOtherServers(handle)
            if case .open(let current) = phase, current.id == handle.id { lookForLostData(handle) }
        case .opening: break
        case .idle, .closing, .closed:
            hasPulse = false
            return
        }
        if desk.read({ $0.inFlight == 0 }), silence >= session.current.timeout / 4, case .open(let handle) = phase,
            handle.isConnected
        {
            sendHeartbeat()
        }
        onQueue(after: untilNextLook) { $0.pulse() }
    }

    /// Runs soon after a lost connection.
    func lookForServers() {
        if case .open(let handle) = phase { tryOtherServers(handle) }
    }

    /// The time since a server last responded. Zero while there is no session.
    private nonisolated var silence: Duration {
        guard session.current.sessionID != 0, let heard = desk.read({ $0.lastHeard }) else { return .zero }
        return heard.duration(to: .now)
    }

    /// The delay until the next check.
    private nonisolated var untilNextLook: Duration {
        let state = session.current
        if state.sessionID == 0 { return .seconds(1) }
        let (silence, quarter, doubt) = (silence, state.timeout / 4, state.timeout * 2 / 3)
        if silence < quarter { return quarter - silence }
        if silence < doubt { return min(doubt - silence, quarter) }
        return state.timeout / 12
    }

    /// Reports in time that the session is `suspended`. It runs on a separate queue, because a slow name server
    /// may block the connection's queue.
    private nonisolated func watchForDoubt() {
        tellDoubt()
        if session.current.phase == .closed { return }
        doubtClock.asyncAfter(deadline: .now() + .milliseconds(Int(untilNextLook.milliseconds) + 1)) { [weak self] in
            self?.watchForDoubt()
        }
    }

    /// Updates the session's state when it becomes `suspended`, or is no longer.
    nonisolated func tellDoubt() {
        let state = session.current
        guard state.sessionID != 0 else { return }
        let silence = silence
        let isDoubtful = silence >= state.timeout * 2 / 3
        session.update { state in
            if isDoubtful, state.phase == .connected || state.phase == .disconnected { state.phase = .suspended }
            if !isDoubtful, state.phase == .suspended { state.phase = .connected }
        }
        if isDoubtful, state.phase != .suspended {
            logger.info(
                "The ZooKeeper session is in doubt: no server has answered", metadata: ["silence": "\(silence)"])
        }
    }

    /// Sends a cheap request, because the C client does not report the responses to its own pings; see
    /// "Sessions and credentials" in <doc:OverTheCClient>.
    func sendHeartbeat() {
        let token = nextToken()
        heartbeatToken.store(token, ordering: .relaxed)
        desk.submit(Call(token: token, request: .exists(path: "/", watch: false), deadline: .now, waiter: nil))
        drain()
    }

    func drainLog(force: Bool) {
        let now = ContinuousClock.now
        guard force || now - lastLogDrain >= .milliseconds(900) else { return }
        lastLogDrain = now
        let (lines, dropped) = LibraryLog.shared.drain(limit: 10)
        for line in lines {
            logger.debug("C client: \(line.text)", metadata: ["level": "\(line.level)"])
        }
        if dropped > 0 { logger.debug("More lines of the C client were dropped", metadata: ["dropped": "\(dropped)"]) }
    }
}
