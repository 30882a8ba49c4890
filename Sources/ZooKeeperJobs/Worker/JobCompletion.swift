import CoreMetrics
import ZooKeeper
import ZooKeeperQueue

/// Acknowledges a job together with everything that must happen with it: what the handler has added, the end of the
/// job's lock, and the count of its batch.
struct JobCompletion: Sendable {
    let job: StoredJob
    let context: JobContext

    private var jobs: JobQueue { context.jobs }
    /// How often an acknowledgement whose outcome is unknown is sent again before its error is thrown.
    private static let resends = 3

    /// - Throws: the errors of `QueueMessage.acknowledge(in:)`; ``JobError/Code/contended``.
    func acknowledge() async throws {
        // The handler has settled the message itself.
        if context.message.leaseState == .settled { return }
        let own = context.transaction
        var deletesBatch = true
        let lock = job.lock.flatMap { $0.event == .done ? $0 : nil }
        guard lock != nil || job.membership != nil else { return try await settle(own) }
        for attempt in 1...JobQueue.maximumAttempts {
            var transaction = own
            if let lock, let removal = try await jobs.release(lock, of: job) { transaction.add(removal) }
            if let membership = job.membership {
                let step = try await jobs.finish(membership, deletesBatch: deletesBatch)
                for operation in step.operations { transaction.add(operation) }
                if let last = step.last { transaction.send(last, to: jobs.queue) }
            }
            do {
                return try await settle(transaction)
            } catch let error as QueueError where isConflict(error, after: own.operations.count) {
                jobs.metrics.conflicts.increment()
                if error.cause?.code == .notEmpty { deletesBatch = false }
                // At random, so that the jobs of a batch do not collide again.
                let pause = RandomName.bits() % UInt64(min(attempt, 8) * 4)
                try await jobs.queue.store.sleep(for: .milliseconds(Int64(pause)))
            }
        }
        throw JobQueue.contended
    }

    /// Whether ZooKeeper refused an operation that depends on what was read, and not one of the handler's.
    private func isConflict(_ error: QueueError, after count: Int) -> Bool {
        guard error.code == .operationRefused, let cause = error.cause, let index = cause.operationIndex else {
            return false
        }
        return index >= count && [.badVersion, .noNode, .notEmpty].contains(cause.code)
    }

    /// Acknowledges the message. An acknowledgement without a response is repeated in the same way, which tells
    /// whether it was applied. While the queue accepts no message that the job sends, the acknowledgement waits, because
    /// a retry would run the handler again.
    private func settle(_ transaction: QueueTransaction) async throws {
        var transaction = transaction
        // One message takes the place of the job, so a full queue cannot keep its own jobs from ending.
        transaction.ignoresCapacity = transaction.messageCount <= 1
        var resends = 0
        while true {
            do {
                return try await acknowledge(in: transaction)
            } catch let error as QueueError where context.message.leaseState != .lost {
                switch error.code {
                case .outcomeUnknown where resends < Self.resends: resends += 1
                case .queueFull, .paused, .timedOut:
                    // A pause is needed, because no event tells when the queue accepts messages.
                    try await jobs.queue.store.sleep(for: Self.pause)
                default: throw error
                }
            }
        }
    }

    private static let pause = Duration.seconds(1)

    private func acknowledge(in transaction: QueueTransaction) async throws {
        if transaction.messageCount == 0 {
            try await context.message.acknowledge(with: transaction.operations)
        } else {
            try await context.message.acknowledge(in: transaction)
        }
    }
}
