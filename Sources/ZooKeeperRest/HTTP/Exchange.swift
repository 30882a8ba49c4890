import ZooKeeper

/// A call: its request is sent in the present session until there is an answer that counts, or its time is over.
struct Exchange: Sendable {
    let session: RestSession
    let transport: RestTransport
    let callDeadline: Duration
    /// Whether its calls are for a gateway with extensions.
    let hasExtensions: Bool
    /// Writes are sent one after the other.
    let turn = WriteTurn()

    /// What an answer means.
    enum Judgement<Value> {
        case value(Value)
        /// The session is no more, and nothing was done.
        case sessionHasEnded
        /// Nothing was done, and the same may be done later.
        case later(ZooKeeperError)
        /// Something between here and the ensemble has failed, perhaps for a while. The request may have been carried
        /// out.
        case inDoubt(String)
        /// The response is not an answer to the request, and repeating it would not help.
        case unreadable
    }

    /// - Parameters:
    ///   - isWrite: one without an answer is not sent again, but is in doubt.
    ///   - owner: the session in which alone it is done, if there is one.
    ///   - wait: how long an answer may take beyond what is usual.
    ///   - request: what is sent; called for each attempt.
    func perform<Value>(
        isWrite: Bool, owner: Int64? = nil, wait: Duration = .zero,
        _ request: (Link) async throws -> RestTransport.Request,
        _ judge: (RestTransport.Response) throws -> Judgement<Value>
    ) async throws -> Value {
        let deadline = ContinuousClock.now + callDeadline + wait
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
                    // As much as the pause is left, at least.
                    if ContinuousClock.now + Self.pause >= deadline { throw error }
                case .inDoubt(let why):
                    if isWrite { throw await Self.inDoubt(why) }
                    seen = why
                case .unreadable:
                    if isWrite { throw await Self.afterAPause(response.unreadable(.unknown)) }
                    throw response.unreadable(.notApplied)
                }
            } catch RestTransport.Failure.noAnswer {
                await session.seemsLost(link)
                if isWrite { throw await Self.inDoubt("No answer came.") }
            } catch RestTransport.Failure.notSent {
                await session.seemsLost(link)
            }
            // There is no event to wait for: the next attempt tells.
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

    private static func inDoubt(_ why: String) async -> ZooKeeperError {
        await afterAPause(
            ZooKeeperError(
                code: .connectionLoss, message: "\(why) The gateway may have done it or not.", path: nil,
                outcome: .unknown))
    }

    /// The first question about a write's outcome is asked at once. The later ones pause, because a gateway that
    /// refuses at once would keep the client busy.
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
