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
        var isTaken = false
        var write = 0
        var lastWaiter = 0
        var waiting: Deque<Waiter> = []
    }
    private let state = Mutex(State())

    private static let tooLate = ZooKeeperError(
        code: .deadlineExceeded, message: "Not sent: an earlier write had no answer in time.",
        path: nil, outcome: .notApplied)

    /// Acquires the lock.
    ///
    /// - Throws: ``ZooKeeperError`` (``ZooKeeperError/Code/deadlineExceeded``) when that does not
    ///   succeed in time, or `CancellationError`.
    func take(until deadline: ContinuousClock.Instant) async throws {
        let number: Int? = state.withLock { state in
            if !state.isTaken {
                state.isTaken = true
                return nil
            }
            state.lastWaiter += 1
            return state.lastWaiter
        }
        guard let number else { return }
        let timer = Task {
            // A timer is needed, because no event says that the lock is not released.
            try await Task.sleep(until: deadline, clock: .continuous)
            giveUp(number, Self.tooLate)
        }
        defer { timer.cancel() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                // Checked under the lock, so that a later cancellation or timer finds the waiter.
                let outcome: Result<Void, any Error>? = state.withLock { state in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if ContinuousClock.now >= deadline { return .failure(Self.tooLate) }
                    if !state.isTaken {
                        state.isTaken = true
                        return .success(())
                    }
                    state.waiting.append(Waiter(number: number, continuation: continuation))
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            giveUp(number, CancellationError())
        }
    }

    private func giveUp(_ number: Int, _ error: any Error) {
        let waiter = state.withLock { state in
            state.waiting.firstIndex { $0.number == number }.map { state.waiting.remove(at: $0) }
        }
        waiter?.continuation.resume(throwing: error)
    }

    func give() {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            state.isTaken = next != nil
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
