import DequeModule
import Synchronization
package import ZooKeeper

/// Runs sagas one at a time, and keeps the ones that stopped halfway.
package final class SagaRunner: Sendable {
    private let mutex = AsyncMutex()
    private let stopped = Mutex<Deque<Saga>>([])

    package init() {}

    /// How many stopped transactions are kept. No caller repeats an older one any more.
    private static let maximumStopped = 16

    /// Carries out a transaction, or resumes one with the same operations that stopped halfway.
    ///
    /// Cancellation has no effect, because it would leave the transaction halfway as soon as its caller stopped
    /// waiting.
    ///
    /// - Parameter deadline: how long to wait for earlier transactions. When it passes first, no step is carried out.
    /// - Throws: ``ZooKeeperError``, like a multi. When the outcome is unknown, a caller that repeats the transaction
    ///   resumes it.
    package func perform(
        _ operations: [ZooKeeperOperation], on store: some SingleOperations,
        until deadline: ContinuousClock.Instant = .now + .seconds(30)
    ) async throws -> [OperationResult] {
        try await Task {
            try await mutex.lock(until: deadline)
            defer { mutex.unlock() }
            var saga = try removeStopped(operations) ?? Saga(operations)
            do {
                return try await saga.run(store)
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                if saga.canResume { addStopped(saga) }
                throw error
            }
        }.value
    }

    private func removeStopped(_ operations: [ZooKeeperOperation]) -> Saga? {
        stopped.withLock { stopped in
            stopped.firstIndex { $0.matches(operations) }.map { stopped.remove(at: $0) }
        }
    }

    private func addStopped(_ saga: Saga) {
        stopped.withLock { stopped in
            stopped.append(saga)
            if stopped.count > Self.maximumStopped { stopped.removeFirst() }
        }
    }
}
