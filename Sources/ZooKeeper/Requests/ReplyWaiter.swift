import Synchronization

/// The receiver of a request's result.
enum Waiter: Sendable {
    case reply(ReplyPromise)
    /// One of several requests that a caller awaits together, with its index among them.
    case group(ReplyGroup, Int)
    /// The connection itself. The closure runs on the transport's thread, so it must only hand the result on.
    case inner(@Sendable (ReplyResult) -> Void)

    func resume(with result: ReplyResult) {
        switch self {
        case .reply(let reply): reply.ended(result)
        case .group(let group, let index): group.ended(index, result)
        case .inner(let body): body(result)
        }
    }
}

/// The result of a request, which may arrive before the caller waits for it.
///
/// The client submits a request before the caller waits, and not in the closure that waits, so that the requests of one
/// actor never overtake each other.
final class ReplyPromise: Sendable {
    private struct State {
        var result: ReplyResult?
        var continuation: CheckedContinuation<Reply, any Error>?
    }
    private let state = Mutex(State())

    /// The result, as soon as it exists. May be read only once.
    var value: Reply {
        get async throws {
            try await withCheckedThrowingContinuation { continuation in
                let result = state.withLock { state in
                    if state.result == nil { state.continuation = continuation }
                    return state.result
                }
                if let result { continuation.resume(with: result) }
            }
        }
    }

    fileprivate func ended(_ result: ReplyResult) {
        let continuation = state.withLock { state -> CheckedContinuation<Reply, any Error>? in
            guard state.result == nil else { return nil }
            state.result = result
            return state.continuation
        }
        continuation?.resume(with: result)
    }
}

/// The results of requests that a caller awaits together. The caller is resumed once, when the last request has
/// ended, instead of once for each.
final class ReplyGroup: Sendable {
    private struct State {
        var results: [ReplyResult?]
        var remaining: Int
        var continuation: CheckedContinuation<[ReplyResult], Never>?
    }
    private let state: Mutex<State>

    init(count: Int, _ continuation: CheckedContinuation<[ReplyResult], Never>) {
        state = Mutex(State(results: .init(repeating: nil, count: count), remaining: count, continuation: continuation))
    }

    fileprivate func ended(_ index: Int, _ result: ReplyResult) {
        let finished = state.withLock { state -> (CheckedContinuation<[ReplyResult], Never>, [ReplyResult])? in
            guard state.results[index] == nil else { return nil }
            state.results[index] = result
            state.remaining -= 1
            guard state.remaining == 0, let continuation = state.continuation else { return nil }
            state.continuation = nil
            return (continuation, state.results.compactMap { $0 })
        }
        if let (continuation, results) = finished { continuation.resume(returning: results) }
    }
}
