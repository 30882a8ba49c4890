import ZooKeeper

/// Executes a call: sends its request in the present session until a response settles it or its time is over.
struct RequestExecutor: Sendable {
    let session: RESTSession
    let transport: RESTTransport
    let requestTimeout: Duration
    /// Whether the calls are for a gateway with extensions.
    let hasExtensions: Bool
    /// Only one write is sent at a time.
    let turn = AsyncMutex()

    /// What a response means.
    enum Judgement<Value> {
        case value(Value)
        /// The session has ended, and nothing was done.
        case sessionHasEnded
        /// Nothing was done, and the same request may succeed later.
        case later(ZooKeeperError)
        /// Something between the client and the ensemble has failed, perhaps temporarily. The
        /// request may have been carried out.
        case unknown(String)
        /// The response is not an answer to the request, and repeating the request would not help.
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
    ///   - judge: says what a response means.
    func perform<Value>(
        isWrite: Bool, owner: Int64? = nil, wait: Duration = .zero,
        _ request: (Link) async throws -> RESTTransport.Request,
        _ judge: (RESTTransport.Response) throws -> Judgement<Value>
    ) async throws -> Value {
        let deadline = ContinuousClock.now + requestTimeout + wait
        if isWrite { try await turn.take(until: deadline) }
        defer { if isWrite { turn.give() } }
        var seen: String?
        while true {
            let link = try await session.link(until: deadline)
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { throw Self.tooLate(seen) }
            guard link.hasExtensions == hasExtensions else { throw Self.anotherKind }
            if let owner, link.owner != owner { throw Self.anotherSession }
            do {
                let request = try await request(link)
                let response = try await link.whileOpen { try await transport.send(request, within: left) }
                switch try judge(response) {
                case .value(let value): return value
                case .sessionHasEnded: await session.hasEnded(link)
                case .later(let error):
                    // The pause must fit into the time that is left.
                    if ContinuousClock.now + Self.pause >= deadline { throw error }
                case .unknown(let why):
                    if isWrite { throw await Self.unknownOutcome(why) }
                    seen = why
                case .unreadable:
                    if isWrite { throw await Self.afterAPause(response.unreadable(.unknown)) }
                    throw response.unreadable(.notApplied)
                }
            } catch RESTTransport.Failure.noAnswer {
                await session.seemsLost(link)
                if isWrite { throw await Self.unknownOutcome("No answer came.") }
            } catch RESTTransport.Failure.notSent {
                await session.seemsLost(link)
            }
            // There is no event to wait for. The next attempt shows whether the gateway answers.
            try await Task.sleep(for: Self.pause)
        }
    }

    static let pause = Duration.milliseconds(50)

    private static func tooLate(_ seen: String?) -> ZooKeeperError {
        ZooKeeperError(
            code: .deadlineExceeded,
            message: seen.map { "The gateway had no better answer in time. \($0)" } ?? "No gateway answered in time.",
            path: nil, outcome: .notApplied)
    }

    private static func unknownOutcome(_ why: String) async -> ZooKeeperError {
        await afterAPause(
            ZooKeeperError(
                code: .connectionLoss, message: "\(why) The gateway may have done it or not.", path: nil,
                outcome: .unknown))
    }

    /// Returns the error after a pause. The caller then asks for the outcome of its write, and a gateway that refuses
    /// at once would otherwise keep it busy.
    private static func afterAPause(_ error: ZooKeeperError) async -> ZooKeeperError {
        try? await Task.sleep(for: pause)
        return error
    }

    private static let anotherSession = ZooKeeperError(
        code: .sessionMoved, message: "The session in which it was begun has ended.", path: nil, outcome: .notApplied)

    private static let anotherKind = ZooKeeperError(
        code: .sessionMoved, message: "The session goes on at a gateway of another kind.", path: nil,
        outcome: .notApplied)
}
