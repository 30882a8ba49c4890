import Dispatch
import Logging
import Synchronization

/// What no callback tells: whether the session is in doubt, and that it is not for want of requests.
extension Connection {
    func startPulse() {
        guard !hasPulse else { return }
        hasPulse = true
        onQueue(after: .milliseconds(500)) { $0.pulse() }
    }

    /// Looks after what no callback tells: whether the session is in doubt, and that it is not for want of requests.
    func pulse() {
        drainLog(force: false)
        switch phase {
        case .open(let handle): tryOtherServers(handle)
        case .opening: break
        case .idle, .closing, .closed:
            hasPulse = false
            return
        }
        onQueue(after: checkSession()) { $0.pulse() }
    }

    /// - Returns: after how long to look again.
    func checkSession() -> Duration {
        let state = session.current
        guard state.sessionID != 0, let heard = desk.read({ $0.lastHeard }) else { return .seconds(1) }
        let silence = heard.duration(to: .now)
        let (quarter, doubt) = (state.timeout / 4, state.timeout * 2 / 3)
        let isDoubtful = silence >= doubt
        session.update { state in
            if isDoubtful, state.phase == .connected || state.phase == .suspended { state.phase = .inDoubt }
            if !isDoubtful, state.phase == .inDoubt { state.phase = .connected }
        }
        if isDoubtful, state.phase != .inDoubt {
            logger.info(
                "The ZooKeeper session is in doubt: no server has answered", metadata: ["silence": "\(silence)"])
        }
        if silence >= quarter, desk.read({ $0.inFlight == 0 }), case .open(let handle) = phase, handle.isConnected {
            sendHeartbeat()
        }
        if silence < quarter { return quarter - silence }
        if silence < doubt { return min(doubt - silence, quarter) }
        return state.timeout / 12
    }

    /// A cheap request of our own: the library's pings are invisible (rule 32).
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
