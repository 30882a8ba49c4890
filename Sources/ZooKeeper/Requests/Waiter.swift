import Synchronization

/// Who is told of the end of a call.
enum Waiter: Sendable {
    case task(CheckedContinuation<Reply, any Error>)
    /// One of several calls that are waited for together, with its place among them.
    case gathering(Gathering, Int)

    func resume(with result: ReplyResult) {
        switch self {
        case .task(let continuation): continuation.resume(with: result)
        case .gathering(let gathering, let place): gathering.ended(place, result)
        }
    }
}

/// The results of calls that are waited for together: whoever waits is woken once, when the last one has ended, instead of
/// once for each.
final class Gathering: Sendable {
    private struct State {
        var results: [ReplyResult?]
        var left: Int
        var continuation: CheckedContinuation<[ReplyResult], Never>?
    }
    private let state: Mutex<State>

    init(count: Int, _ continuation: CheckedContinuation<[ReplyResult], Never>) {
        state = Mutex(State(results: .init(repeating: nil, count: count), left: count, continuation: continuation))
    }

    fileprivate func ended(_ place: Int, _ result: ReplyResult) {
        let finished = state.withLock { state -> (CheckedContinuation<[ReplyResult], Never>, [ReplyResult])? in
            guard state.results[place] == nil else { return nil }
            state.results[place] = result
            state.left -= 1
            guard state.left == 0, let continuation = state.continuation else { return nil }
            state.continuation = nil
            return (continuation, state.results.compactMap { $0 })
        }
        if let (continuation, results) = finished { continuation.resume(returning: results) }
    }
}
