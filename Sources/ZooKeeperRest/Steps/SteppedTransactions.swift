import DequeModule
import Synchronization
package import ZooKeeper

/// Carries transactions out in steps, one after the other, and remembers those that have stopped halfway.
package final class SteppedTransactions: Sendable {
    private let turn = WriteTurn()
    private let stopped = Mutex<Deque<SteppedTransaction>>([])

    package init() {}

    /// Of how many it is remembered how far they are: nobody repeats the oldest ones any more.
    private static let remembered = 16

    /// - Parameter deadline: until when it waits for the transactions before it; after that, nothing of it is done.
    /// - Throws: ``ZooKeeperError``, as a multi does. Whoever repeats one of an unknown outcome goes on where it has stopped. It is
    ///   not affected by cancellation, so that it is not left halfway because nobody waits any more.
    package func perform(
        _ operations: [Operation], on store: some SingleOperations,
        until deadline: ContinuousClock.Instant = .now + .seconds(30)
    ) async throws -> [OperationResult] {
        try await Task {
            try await turn.take(until: deadline)
            defer { turn.give() }
            var transaction = try take(operations) ?? SteppedTransaction(operations)
            do {
                return try await transaction.run(store)
            } catch let error as ZooKeeperError where error.outcome == .unknown {
                if transaction.canGoOn { put(transaction) }
                throw error
            }
        }.value
    }

    private func take(_ operations: [Operation]) -> SteppedTransaction? {
        stopped.withLock { stopped in
            stopped.firstIndex { $0.isOf(operations) }.map { stopped.remove(at: $0) }
        }
    }

    private func put(_ transaction: SteppedTransaction) {
        stopped.withLock { stopped in
            stopped.append(transaction)
            if stopped.count > Self.remembered { stopped.removeFirst() }
        }
    }
}
