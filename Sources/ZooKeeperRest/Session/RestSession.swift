import GatewayExtensions
import Logging
import ZooKeeper

/// The session at a gateway: opened, kept alive, and opened anew when it has ended.
actor RestSession {
    nonisolated let source = SessionStateSource(
        SessionState(phase: .connecting, sessionID: 0, timeout: .zero, expirations: 0))
    private let configuration: RestConfiguration
    private let calls: SessionCalls
    private let logger: Logger
    private var present: Link?
    /// Why no session can be opened, unless that may pass.
    private var refusal: ZooKeeperError?
    /// Why the last attempt to open a session failed.
    private var obstacle: String?
    private var isClosed = false
    private var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    private var waiterCount = 0
    /// Which of the gateways is asked.
    private var gateway = 0
    /// Wakes the keeper from its rest.
    private var resting: AsyncStream<Void>.Continuation?

    init(_ configuration: RestConfiguration, _ transport: RestTransport, _ logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        calls = SessionCalls(transport: transport, configuration: configuration)
    }

    // MARK: For those who call

    /// The present session, or the next one.
    ///
    /// - Throws: ``ZooKeeperError`` when there is none in time, or the gateway lacks what is expected of it.
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

    /// A gateway has said that there is no such session.
    func hasEnded(_ link: Link) {
        guard present === link else { return }
        end("The gateway has no such session any more")
    }

    /// A gateway gave no answer: is the session still there?
    func seemsLost(_ link: Link) { if present === link { resting?.yield() } }

    private func waitForChange(until deadline: ContinuousClock.Instant) async {
        waiterCount += 1
        let number = waiterCount
        let timer = Task {
            // A time limit: that no session is opened is no event.
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

    /// Until the task is cancelled.
    func keep() async {
        // How many gateways, one after the other, are of no use as they are.
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
                // What one refuses, another may do.
                refusal = refusals >= configuration.gateways.count ? error : nil
                if refusal != nil { changed() }
                // Nobody tells when a gateway is there again.
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
            // Callers throw it when no other gateway can be used.
            if refusal == nil {
                logger.notice("A gateway cannot be used", metadata: ["gateway": "\(address)", "why": "\(error)"])
            }
            return .failure(error)
        } catch let error as SessionCalls.NotNow {
            obstacle = "\(address): \(error.why)"
            return .failure(nil)
        } catch {
            // Cancelled: this is the end.
            return .failure(nil)
        }
    }

    /// Gives signs until the session has ended.
    private func keepAlive(_ link: Link) async {
        let clock = ContinuousClock()
        var heard = link.opened
        while !Task.isCancelled, present === link {
            if source.current.phase == .connected {
                await rest(for: min(link.timeout / 6, max(.zero, clock.now.duration(to: heard + link.timeout / 3))))
            }
            guard !Task.isCancelled, present === link else { return }
            // What an answer tells was so when it was asked for, at the earliest.
            let asked = clock.now
            // Doubt is said in time, whatever an attempt takes.
            let untilDoubt = asked.duration(to: heard + link.timeout / 2)
            if untilDoubt <= .zero { source.update { $0.enter(.inDoubt) } }
            let limit = untilDoubt > .zero ? min(link.timeout / 6, untilDoubt) : link.timeout / 6
            switch await calls.heartbeat(link, within: limit) {
            case .alive:
                heard = asked
                if present === link { source.update { $0.enter(.connected) } }
            case .ended: hasEnded(link)
            case .noAnswer:
                let silence = heard.duration(to: clock.now)
                // Said well before the session can end.
                if present === link { source.update { $0.enter(silence >= link.timeout / 2 ? .inDoubt : .suspended) } }
                if silence >= link.timeout, present === link {
                    end("No gateway has answered for as long as a session lasts")
                    gateway = (gateway + 1) % configuration.gateways.count
                    // It may live on, where we are not heard.
                    await calls.close(link)
                }
                // One that refuses at once is asked again soon, and not without a pause.
                try? await Task.sleep(for: min(.milliseconds(100), link.timeout / 20))
            }
        }
    }

    private func rest(for duration: Duration) async {
        // Another one each time, since it ends with the task that waits for it.
        let (pokes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        resting = continuation
        defer { resting = nil }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in pokes { return } }
            // Signs are given at intervals.
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

    /// Ends the session, once the keeper has ended.
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
