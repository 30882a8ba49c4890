import DequeModule
import Synchronization
package import ZooKeeper

/// Carries out transactions in steps, one transaction at a time, and remembers the ones that stopped halfway.
package final class SagaRunner: Sendable {
    private let turn = AsyncMutex()
    private let stopped = Mutex<Deque<Saga>>([])

    package init() {}

    /// How many stopped transactions are remembered. No caller repeats an older one any more.
    private static let remembered = 16

    /// Carries out a transaction, or resumes one with the same operations that stopped halfway.
    ///
    /// Cancellation has no effect, because it would leave the transaction halfway as
    /// soon as its caller stopped waiting.
    ///
    /// - Parameter deadline: how long to wait for earlier transactions. When it passes first, no step is carried out.
    /// - Throws: ``ZooKeeperError``, like a multi. When the outcome is unknown, a caller that
    ///   repeats the transaction resumes it.
    package func perform(
        _ operations: [ZooKeeperOperation], on store: some SingleOperations,
        until deadline: ContinuousClock.Instant = .now + .seconds(30)
    ) async throws -> [OperationResult] {
        try await Task {
            try await turn.take(until: deadline)
            defer { turn.give() }
            var transaction = try take(operations) ?? Saga(operations)
            do {
                return try await transaction.run(store)
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                if transaction.canGoOn { put(transaction) }
                throw error
            }
        }.value
    }

    private func take(_ operations: [ZooKeeperOperation]) -> Saga? {
        stopped.withLock { stopped in
            stopped.firstIndex { $0.isOf(operations) }.map { stopped.remove(at: $0) }
        }
    }

    private func put(_ transaction: Saga) {
        stopped.withLock { stopped in
            stopped.append(transaction)
            if stopped.count > Self.remembered { stopped.removeFirst() }
        }
    }
}
