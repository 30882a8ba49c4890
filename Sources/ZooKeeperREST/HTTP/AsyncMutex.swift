import DequeModule
import Synchronization
import ZooKeeper

/// A lock that lets one write proceed at a time, in order of arrival.
final class AsyncMutex: Sendable {
    private struct Waiter {
        let number: Int
        let continuation: CheckedContinuation<Void, any Error>
    }
    private struct State {
        var isLocked = false
        var write = 0
        var lastWaiter = 0
        var waiting: Deque<Waiter> = []
    }
    private let state = Mutex(State())

    private static let timedOut = ZooKeeperError(
        code: .deadlineExceeded, message: "Not sent: an earlier write did not finish in time. Try again.", path: nil,
        outcome: .notApplied)

    /// Acquires the lock.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/deadlineExceeded``) when that does not succeed in time, or
    ///   `CancellationError`.
    func lock(until deadline: ContinuousClock.Instant) async throws {
        let number: Int? = state.withLock { state in
            if !state.isLocked {
                state.isLocked = true
                return nil
            }
            state.lastWaiter += 1
            return state.lastWaiter
        }
        guard let number else { return }
        let timer = Task {
            // A timer is needed, because no event says that the lock is not released.
            try await Task.sleep(until: deadline, clock: .continuous)
            removeWaiter(number, Self.timedOut)
        }
        defer { timer.cancel() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                // Checked under the lock, so that a later cancellation or timer finds the waiter.
                let outcome: Result<Void, any Error>? = state.withLock { state in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if ContinuousClock.now >= deadline { return .failure(Self.timedOut) }
                    if !state.isLocked {
                        state.isLocked = true
                        return .success(())
                    }
                    state.waiting.append(Waiter(number: number, continuation: continuation))
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            removeWaiter(number, CancellationError())
        }
    }

    private func removeWaiter(_ number: Int, _ error: any Error) {
        let waiter = state.withLock { state in
            state.waiting.firstIndex { $0.number == number }.map { state.waiting.remove(at: $0) }
        }
        waiter?.continuation.resume(throwing: error)
    }

    func unlock() {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            state.isLocked = next != nil
            return next
        }
        next?.continuation.resume()
    }

    /// Returns the number for the next write.
    func nextNumber() -> Int {
        state.withLock { state in
            state.write += 1
            return state.write
        }
    }
}
