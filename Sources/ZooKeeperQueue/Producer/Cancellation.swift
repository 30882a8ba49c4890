import Synchronization

/// Joins the cancellation of a task with the number of its send. Either may come first.
final class Cancellation: Sendable {
    private enum State {
        case waiting
        case armed(UnresolvedSend)
        case fired
    }
    private let state = Mutex(State.waiting)

    /// Records the number of the send.
    ///
    /// - Returns: whether the task was cancelled before.
    func arm(_ id: UnresolvedSend) -> Bool {
        state.withLock { state in
            if case .fired = state { return true }
            state = .armed(id)
            return false
        }
    }

    /// Records that the task was cancelled.
    ///
    /// - Returns: the number of the send, if it is known already.
    func fire() -> UnresolvedSend? {
        state.withLock { state in
            defer { state = .fired }
            if case .armed(let id) = state { return id }
            return nil
        }
    }
}
