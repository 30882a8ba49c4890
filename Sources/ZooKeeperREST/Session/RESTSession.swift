import GatewayProtocol
import Logging
import ZooKeeper

/// Opens a session at a gateway, keeps it alive, and opens another one when it has ended.
actor RESTSession {
    nonisolated let source = SessionStateSource(
        SessionState(phase: .connecting, sessionID: 0, timeout: .zero, expirations: 0))
    private let configuration: RESTConfiguration
    private let api: SessionAPI
    private let logger: Logger
    private var currentLink: Link?
    /// The reason why no gateway can be used; `nil` while the reason may be temporary.
    private var permanentError: ZooKeeperError?
    /// The reason why the last attempt to open a session failed.
    private var lastFailure: String?
    private var isClosed = false
    private var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    private var waiterCount = 0
    /// The index of the gateway that is used.
    private var gateway = 0
    /// Wakes the task that keeps the session alive.
    private var wakeUp: AsyncStream<Void>.Continuation?

    init(_ configuration: RESTConfiguration, _ transport: RESTTransport, _ logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        api = SessionAPI(transport: transport, configuration: configuration)
    }

    // MARK: For callers

    /// Returns the present session, or waits for the next one.
    ///
    /// - Throws: ``ZooKeeperError`` when there is no session in time, or the gateway lacks what the configuration
    ///   requires; `CancellationError`.
    func link(until deadline: ContinuousClock.Instant) async throws -> Link {
        while true {
            try Task.checkCancellation()
            if isClosed {
                throw ZooKeeperError(
                    code: .closed, message: "The store is closed. Create another one.", path: nil, outcome: .notApplied)
            }
            if let currentLink { return currentLink }
            if let permanentError { throw permanentError }
            guard ContinuousClock.now < deadline else {
                throw ZooKeeperError(
                    code: .deadlineExceeded,
                    message:
                        "No gateway opened a session in time. Check the gateways' addresses, and whether one of them "
                        + "is up.\(lastFailure.map { " Last failure: \($0)" } ?? "")", path: nil, outcome: .notApplied)
            }
            await waitForChange(until: deadline)
        }
    }

    /// Ends the session, because the gateway reports that it does not exist.
    func sessionEnded(_ link: Link) {
        guard currentLink === link else { return }
        end("The gateway no longer knows the session")
    }

    /// Checks the session early, because the gateway did not answer.
    func checkSoon(_ link: Link) { if currentLink === link { wakeUp?.yield() } }

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

    private func wakeWaiters() { for number in waiters.keys { wake(number) } }

    // MARK: Keeping the session alive

    /// Opens sessions and keeps them alive, until the task is cancelled.
    func run() async {
        // How many gateways in a row cannot be used, for a reason that is not temporary.
        var refusals = 0
        while !Task.isCancelled {
            if let currentLink {
                await keepAlive(currentLink)
                continue
            }
            switch await open(at: configuration.gateways[gateway]) {
            case .success: refusals = 0
            case .failure(let error):
                gateway = (gateway + 1) % configuration.gateways.count
                refusals = error == nil ? 0 : refusals + 1
                // The refusal counts once every gateway has refused, because one gateway may do what another refuses.
                permanentError = refusals >= configuration.gateways.count ? error : nil
                if permanentError != nil { wakeWaiters() }
                // No event says that a gateway is available again.
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private enum Opening { case success, failure(ZooKeeperError?) }

    private func open(at address: String) async -> Opening {
        do {
            let link = try await api.open(at: address)
            (permanentError, lastFailure) = (nil, nil)
            currentLink = link
            source.update {
                $0 = SessionState(
                    phase: .connected, sessionID: link.owner, timeout: link.timeout, expirations: $0.expirations)
            }
            logger.debug("Opened a session", metadata: ["gateway": "\(address)"])
            wakeWaiters()
            return .success
        } catch let error as ZooKeeperError {
            // Callers throw this error when no other gateway can be used.
            if permanentError == nil {
                logger.notice("Cannot use a gateway", metadata: ["gateway": "\(address)", "reason": "\(error)"])
            }
            return .failure(error)
        } catch let error as SessionAPI.TemporaryFailure {
            lastFailure = "\(address): \(error.reason)"
            return .failure(nil)
        } catch {
            // The task was cancelled, because the store is being closed.
            return .failure(nil)
        }
    }

    /// Sends heartbeats until the session has ended.
    private func keepAlive(_ link: Link) async {
        let clock = ContinuousClock()
        var lastHeartbeat = link.opened
        while !Task.isCancelled, currentLink === link {
            if source.current.phase == .connected {
                await sleep(
                    for: min(link.timeout / 6, max(.zero, clock.now.duration(to: lastHeartbeat + link.timeout / 3))))
            }
            guard !Task.isCancelled, currentLink === link else { return }
            // A response proves only that the session lived when the heartbeat was sent.
            let sentAt = clock.now
            // The session becomes `suspended` in time, however long an attempt takes.
            let untilSuspension = sentAt.duration(to: lastHeartbeat + link.timeout / 2)
            if untilSuspension <= .zero { source.update { $0.enter(.suspended) } }
            let limit = untilSuspension > .zero ? min(link.timeout / 6, untilSuspension) : link.timeout / 6
            switch await api.heartbeat(link, within: limit) {
            case .alive:
                lastHeartbeat = sentAt
                if currentLink === link { source.update { $0.enter(.connected) } }
            case .ended: sessionEnded(link)
            case .noResponse:
                let idleTime = lastHeartbeat.duration(to: clock.now)
                // Reported well before the session can end.
                if currentLink === link {
                    source.update { $0.enter(idleTime >= link.timeout / 2 ? .suspended : .disconnected) }
                }
                if idleTime >= link.timeout, currentLink === link {
                    end("The gateway did not respond within the session timeout")
                    gateway = (gateway + 1) % configuration.gateways.count
                    // The session may live on at a gateway that no heartbeat reaches.
                    await api.close(link)
                }
                // A gateway that refuses at once gets the next heartbeat soon, but not without a pause.
                try? await Task.sleep(for: min(.milliseconds(100), link.timeout / 20))
            }
        }
    }

    private func sleep(for duration: Duration) async {
        // A new stream each time, because it ends with the task that waits for it.
        let (wakeUps, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        wakeUp = continuation
        defer { wakeUp = nil }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in wakeUps { return } }
            // Heartbeats are sent at intervals, so there is no event to wait for.
            group.addTask { try? await Task.sleep(for: duration) }
            await group.next()
            group.cancelAll()
        }
    }

    private func end(_ reason: String) {
        currentLink?.end()
        currentLink = nil
        logger.info("A session ended", metadata: ["reason": "\(reason)"])
        source.update {
            $0 = SessionState(phase: .connecting, sessionID: 0, timeout: $0.timeout, expirations: $0.expirations + 1)
        }
        wakeUp?.yield()
    }

    /// Closes the session. Call it after the task that keeps the session alive has ended.
    func close() async {
        isClosed = true
        wakeWaiters()
        if let currentLink {
            currentLink.end()
            await api.close(currentLink)
        }
        currentLink = nil
        source.update { $0.enter(.closed) }
    }
}

extension SessionState {
    fileprivate mutating func enter(_ phase: Phase) {
        self = SessionState(phase: phase, sessionID: sessionID, timeout: timeout, expirations: expirations)
    }
}
