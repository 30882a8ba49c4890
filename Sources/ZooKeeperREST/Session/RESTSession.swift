import GatewayProtocol
import Logging
import ZooKeeper

/// Opens a session at a gateway, keeps it alive, and opens another one when it has ended.
actor RESTSession {
    nonisolated let source = SessionStateSource(
        SessionState(phase: .connecting, sessionID: 0, timeout: .zero, expirations: 0))
    private let configuration: RESTConfiguration
    private let calls: SessionAPI
    private let logger: Logger
    private var present: Link?
    /// Why no gateway can be used; `nil` while the reason may be temporary.
    private var refusal: ZooKeeperError?
    /// Why the last attempt to open a session failed.
    private var obstacle: String?
    private var isClosed = false
    private var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    private var waiterCount = 0
    /// The index of the gateway that is used.
    private var gateway = 0
    /// Wakes the task that keeps the session alive.
    private var resting: AsyncStream<Void>.Continuation?

    init(_ configuration: RESTConfiguration, _ transport: RESTTransport, _ logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        calls = SessionAPI(transport: transport, configuration: configuration)
    }

    // MARK: For those who call

    /// Returns the present session, or waits for the next one.
    ///
    /// - Throws: ``ZooKeeperError`` when there is no session in time, or the gateway lacks what the
    ///   configuration requires; `CancellationError`.
    func link(until deadline: ContinuousClock.Instant) async throws -> Link {
        while true {
            try Task.checkCancellation()
            if isClosed {
                throw ZooKeeperError(code: .closed, message: "The store is closed.", path: nil, outcome: .notApplied)
            }
            if let present { return present }
            if let refusal { throw refusal }
            guard ContinuousClock.now < deadline else {
                throw ZooKeeperError(
                    code: .deadlineExceeded,
                    message: "No gateway opened a session in time.\(obstacle.map { " The last one: \($0)" } ?? "")",
                    path: nil, outcome: .notApplied)
            }
            await waitForChange(until: deadline)
        }
    }

    /// Ends the session, because the gateway reports that it does not exist.
    func hasEnded(_ link: Link) {
        guard present === link else { return }
        end("The gateway has no such session any more")
    }

    /// Checks the session early, because the gateway did not answer.
    func seemsLost(_ link: Link) { if present === link { resting?.yield() } }

    private func waitForChange(until deadline: ContinuousClock.Instant) async {
        waiterCount += 1
        let number = waiterCount
        let timer = Task {
            // A timer is needed, because no event says that no session is opened.
            try? await Task.sleep(until: deadline, clock: .continuous)
            wake(number)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { return continuation.resume() }
                waiters[number] = continuation
            }
        } onCancel: {
            Task { await wake(number) }
        }
        timer.cancel()
    }

    private func wake(_ number: Int) { waiters.removeValue(forKey: number)?.resume() }

    private func changed() { for number in waiters.keys { wake(number) } }

    // MARK: Keeping it

    /// Opens sessions and keeps them alive, until the task is cancelled.
    func keep() async {
        // How many gateways in a row cannot be used, for a reason that is not temporary.
        var refusals = 0
        while !Task.isCancelled {
            if let present {
                await keepAlive(present)
                continue
            }
            switch await open(at: configuration.gateways[gateway]) {
            case .success: refusals = 0
            case .failure(let error):
                gateway = (gateway + 1) % configuration.gateways.count
                refusals = error == nil ? 0 : refusals + 1
                // The refusal counts once every gateway has refused, because one gateway may do what another refuses.
                refusal = refusals >= configuration.gateways.count ? error : nil
                if refusal != nil { changed() }
                // No event says that a gateway is available again.
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private enum Opening { case success, failure(ZooKeeperError?) }

    private func open(at address: String) async -> Opening {
        do {
            let link = try await calls.open(at: address)
            (refusal, obstacle) = (nil, nil)
            present = link
            source.update {
                $0 = SessionState(
                    phase: .connected, sessionID: link.owner, timeout: link.timeout, expirations: $0.expirations)
            }
            logger.debug("A session is open", metadata: ["gateway": "\(address)"])
            changed()
            return .success
        } catch let error as ZooKeeperError {
            // Callers throw this error when no other gateway can be used.
            if refusal == nil {
                logger.notice("A gateway cannot be used", metadata: ["gateway": "\(address)", "why": "\(error)"])
            }
            return .failure(error)
        } catch let error as SessionAPI.NotNow {
            obstacle = "\(address): \(error.why)"
            return .failure(nil)
        } catch {
            // The task was cancelled, because the store is being closed.
            return .failure(nil)
        }
    }

    /// Sends heartbeats until the session has ended.
    private func keepAlive(_ link: Link) async {
        let clock = ContinuousClock()
        var heard = link.opened
        while !Task.isCancelled, present === link {
            if source.current.phase == .connected {
                await rest(for: min(link.timeout / 6, max(.zero, clock.now.duration(to: heard + link.timeout / 3))))
            }
            guard !Task.isCancelled, present === link else { return }
            // A response proves only that the session lived when the heartbeat was sent.
            let asked = clock.now
            // The session becomes `suspended` in time, however long an attempt takes.
            let untilDoubt = asked.duration(to: heard + link.timeout / 2)
            if untilDoubt <= .zero { source.update { $0.enter(.suspended) } }
            let limit = untilDoubt > .zero ? min(link.timeout / 6, untilDoubt) : link.timeout / 6
            switch await calls.heartbeat(link, within: limit) {
            case .alive:
                heard = asked
                if present === link { source.update { $0.enter(.connected) } }
            case .ended: hasEnded(link)
            case .noAnswer:
                let silence = heard.duration(to: clock.now)
                // Reported well before the session can end.
                if present === link {
                    source.update { $0.enter(silence >= link.timeout / 2 ? .suspended : .disconnected) }
                }
                if silence >= link.timeout, present === link {
                    end("No gateway has answered for as long as a session lasts")
                    gateway = (gateway + 1) % configuration.gateways.count
                    // The session may live on at a gateway that no heartbeat reaches.
                    await calls.close(link)
                }
                // A gateway that refuses at once is asked again soon, but not without a pause.
                try? await Task.sleep(for: min(.milliseconds(100), link.timeout / 20))
            }
        }
    }

    private func rest(for duration: Duration) async {
        // A new stream each time, because it ends with the task that waits for it.
        let (pokes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        resting = continuation
        defer { resting = nil }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in pokes { return } }
            // Heartbeats are sent at intervals, so there is no event to wait for.
            group.addTask { try? await Task.sleep(for: duration) }
            await group.next()
            group.cancelAll()
        }
    }

    private func end(_ why: String) {
        present?.end()
        present = nil
        logger.info("A session has ended", metadata: ["why": "\(why)"])
        source.update {
            $0 = SessionState(phase: .connecting, sessionID: 0, timeout: $0.timeout, expirations: $0.expirations + 1)
        }
        resting?.yield()
    }

    /// Closes the session. Call it after the task that keeps the session alive has ended.
    func close() async {
        isClosed = true
        changed()
        if let present {
            present.end()
            await calls.close(present)
        }
        present = nil
        source.update { $0.enter(.closed) }
    }
}

extension SessionState {
    fileprivate mutating func enter(_ phase: Phase) {
        self = SessionState(phase: phase, sessionID: sessionID, timeout: timeout, expirations: expirations)
    }
}
