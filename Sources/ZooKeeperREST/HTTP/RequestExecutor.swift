import ZooKeeper

/// Executes a call: sends its request in the present session until a response settles it or its time is over.
struct RequestExecutor: Sendable {
    let session: RESTSession
    let transport: RESTTransport
    let requestTimeout: Duration
    /// Whether the calls are for a gateway with extensions.
    let hasExtensions: Bool
    /// Only one write is sent at a time.
    let writeMutex = AsyncMutex()

    /// What a response means.
    enum Interpretation<Value> {
        case value(Value)
        /// The session has ended, and nothing was done.
        case sessionEnded
        /// Nothing was done, and the same request may succeed later.
        case retry(ZooKeeperError)
        /// Something between the client and the ensemble has failed, perhaps temporarily. The request may have been
        /// carried out.
        case unknown(reason: String)
        /// The response does not belong to the request, and repeating the request would not help.
        case unreadable
    }

    /// Executes a call.
    ///
    /// - Parameters:
    ///   - isWrite: whether the call is a write, which is not sent again when its response is
    ///     lost, because its outcome is unknown.
    ///   - owner: the ID of the only session in which the call may run, if there is one.
    ///   - wait: how long a response may take beyond the usual time.
    ///   - request: makes the request for each attempt.
    ///   - interpret: returns what a response means.
    func perform<Value>(
        isWrite: Bool, owner: Int64? = nil, wait: Duration = .zero,
        _ request: (Link) async throws -> RESTTransport.Request,
        _ interpret: (RESTTransport.Response) throws -> Interpretation<Value>
    ) async throws -> Value {
        let deadline = ContinuousClock.now + requestTimeout + wait
        if isWrite { try await writeMutex.lock(until: deadline) }
        defer { if isWrite { writeMutex.unlock() } }
        var lastFailure: String?
        while true {
            let link = try await session.link(until: deadline)
            let remaining = ContinuousClock.now.duration(to: deadline)
            guard remaining > .zero else { throw Self.timedOut(lastFailure) }
            guard link.hasExtensions == hasExtensions else { throw Self.gatewayChanged }
            if let owner, link.owner != owner { throw Self.sessionChanged }
            do {
                let request = try await request(link)
                let response = try await link.whileOpen { try await transport.send(request, within: remaining) }
                switch try interpret(response) {
                case .value(let value): return value
                case .sessionEnded: await session.sessionEnded(link)
                case .retry(let error):
                    // The pause must fit into the time that is left.
                    if ContinuousClock.now + Self.pause >= deadline { throw error }
                case .unknown(let reason):
                    if isWrite { throw await Self.unknownOutcome(reason) }
                    lastFailure = reason
                case .unreadable:
                    if isWrite { throw await Self.afterPause(response.unreadable(.unknown)) }
                    throw response.unreadable(.notApplied)
                }
            } catch RESTTransport.Failure.noResponse {
                await session.checkSoon(link)
                if isWrite { throw await Self.unknownOutcome("No response arrived.") }
            } catch RESTTransport.Failure.notSent(let reason) {
                lastFailure = reason
                await session.checkSoon(link)
            }
            // There is no event to wait for. The next attempt shows whether the gateway answers.
            try await Task.sleep(for: Self.pause)
        }
    }

    static let pause = Duration.milliseconds(50)

    private static func timedOut(_ lastFailure: String?) -> ZooKeeperError {
        ZooKeeperError(
            code: .deadlineExceeded,
            message: "No gateway executed the request in time. Try again."
                + (lastFailure.map { " Last failure: \($0)" } ?? ""),
            path: nil, outcome: .notApplied)
    }

    private static func unknownOutcome(_ reason: String) async -> ZooKeeperError {
        await afterPause(ZooKeeperError(code: .connectionLoss, message: reason, path: nil, outcome: .unknown))
    }

    /// Returns the error after a pause. The caller then queries the outcome of its write, and a gateway that refuses at
    /// once would otherwise keep it busy.
    private static func afterPause(_ error: ZooKeeperError) async -> ZooKeeperError {
        try? await Task.sleep(for: pause)
        return error
    }

    private static let sessionChanged = ZooKeeperError(
        code: .sessionMoved, message: "Not sent: the session of the transaction has ended. Repeat the transaction.",
        path: nil, outcome: .notApplied)

    private static let gatewayChanged = ZooKeeperError(
        code: .sessionMoved,
        message: "Not sent: the gateway of the new session has different capabilities. Repeat the request.", path: nil,
        outcome: .notApplied)
}
