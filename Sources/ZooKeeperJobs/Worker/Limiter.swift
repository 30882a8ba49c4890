import DequeModule
import Synchronization

/// Lets a number of tasks run at once. Others wait in order of arrival.
final class Limiter: Sendable {
    private typealias Waiter = CheckedContinuation<Void, any Error>
    private struct State {
        var free: Int
        var next: UInt64 = 0
        /// The waiters in order of arrival. A waiter that was cancelled is missing from `waiters`.
        var order: Deque<UInt64> = []
        var waiters: [UInt64: Waiter] = [:]

        mutating func release() -> Waiter? {
            while let id = order.popFirst() {
                if let waiter = waiters.removeValue(forKey: id) { return waiter }
            }
            free += 1
            return nil
        }
    }
    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: count)) }

    /// Runs `body` when fewer than the allowed number of tasks run.
    ///
    /// - Throws: `CancellationError` when the task is cancelled before its turn; the errors of `body`.
    func run<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
        try await acquire()
        defer { state.withLock { $0.release() }?.resume() }
        return try await body()
    }

    private func acquire() async throws {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in
                // Checked under the lock, so that a later cancellation finds the waiter.
                let result: Result<Void, any Error>? = state.withLock { state in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if state.free > 0 {
                        state.free -= 1
                        return .success(())
                    }
                    state.order.append(id)
                    state.waiters[id] = waiter
                    return nil
                }
                if let result { waiter.resume(with: result) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(throwing: CancellationError())
        }
    }
}
