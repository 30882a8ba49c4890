import Synchronization

/// Brings together a cancellation and the number of what is to be cancelled, whichever comes first.
final class Cancellation: Sendable {
    private enum State {
        case waiting
        case armed(SendID)
        case fired
    }
    private let state = Mutex(State.waiting)

    /// The number is known now.
    ///
    /// - Returns: whether the cancellation came before it.
    func arm(_ id: SendID) -> Bool {
        state.withLock { state in
            if case .fired = state { return true }
            state = .armed(id)
            return false
        }
    }

    /// The task was cancelled.
    ///
    /// - Returns: the number, if it is known already.
    func fire() -> SendID? {
        state.withLock { state in
            defer { state = .fired }
            if case .armed(let id) = state { return id }
            return nil
        }
    }
}
