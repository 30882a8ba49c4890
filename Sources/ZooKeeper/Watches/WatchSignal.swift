import Synchronization

/// A flag that one task waits for: raising it twice before it is seen is the same as raising it once, so nothing is
/// ever buffered.
package final class WatchSignal: Sendable {
    private struct State {
        var isRaised = false
        var hasEnded = false
        var waiter: CheckedContinuation<Void, Never>?
    }
    private static let count = Atomic<UInt64>(0)

    /// Signals are raised in the order of their numbers, so that a simulation can be repeated.
    let number = WatchSignal.count.wrappingAdd(1, ordering: .relaxed).newValue
    private let state = Mutex(State())

    package init() {}

    /// Whether something may have changed since the signal was cleared.
    package var isRaised: Bool { state.withLock { $0.isRaised } }

    /// Whether nothing more will come.
    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// Says that something may have changed.
    func raise() { wake { $0.isRaised = true } }

    /// Says that nothing more will come.
    func end() { wake { $0.hasEnded = true } }

    /// Forgets what was raised: whoever reads after this sees it.
    package func clear() { state.withLock { $0.isRaised = false } }

    /// Returns when the signal was raised or has ended, or when the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isDone = state.withLock { state in
                    if state.isRaised || state.hasEnded || Task.isCancelled { return true }
                    state.waiter = continuation
                    return false
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            wake { _ in }
        }
        clear()
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state in
            change(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}
