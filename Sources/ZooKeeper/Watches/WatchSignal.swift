import Synchronization

/// A flag that one task waits for. Raising it twice before the task sees it has the same effect as raising it
/// once, so nothing is ever buffered.
package final class WatchSignal: Sendable {
    private struct State {
        var isRaised = false
        var hasEnded = false
        var waiter: CheckedContinuation<Void, Never>?
    }
    private static let count = Atomic<UInt64>(0)

    /// Signals are raised in the order of their numbers, which makes a simulation repeatable.
    let number = WatchSignal.count.wrappingAdd(1, ordering: .relaxed).newValue
    private let state = Mutex(State())

    package init() {}

    /// Whether something may have changed since the signal was cleared.
    package var isRaised: Bool { state.withLock { $0.isRaised } }

    /// Whether no more changes will follow.
    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// Signals that something may have changed.
    func raise() { wake { $0.isRaised = true } }

    /// Signals that no more changes will follow.
    func end() { wake { $0.hasEnded = true } }

    /// Clears the flag. A read that starts afterwards sees every change that was signalled before.
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

    /// Handles the error of a request that sets a watch: raises the signal if the request must be repeated.
    ///
    /// - Throws: The error, if waiting cannot fix it.
    func handle(_ error: any Error) async throws {
        if error is CancellationError { return }
        switch (error as? ZooKeeperError)?.code {
        case .closed: end()
        case .deadlineExceeded:
            // No server responds for now. The repeated request waits for a connection itself.
            raise()
        case .overloaded:
            // The client does not report when its queue of requests has room again.
            try? await Task.sleep(for: .milliseconds(50))
            raise()
        default: throw error
        }
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
