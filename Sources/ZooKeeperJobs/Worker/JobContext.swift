public import Logging
import Synchronization
public import ZooKeeper
public import ZooKeeperQueue

/// What a handler knows about its job, and what it can add to the acknowledgement.
public struct JobContext: Sendable {
    /// The job's ID, which is the same in each attempt.
    public let id: String
    /// The job's name, as it is stored.
    public let name: String
    /// The number of this attempt, from 1 on. Above 1, an earlier attempt may have done a part of the work.
    public var attempt: Int { message.deliveryCount }
    /// The job's message, with its headers, its fencing token and the state of its lease. The worker settles it. If the
    /// handler settles it itself, its completion is dropped, and its batch does not count the job.
    public let message: QueueMessage
    /// A logger whose metadata has the job's name, ID and attempt.
    public var logger: Logger
    /// When the time limit of the handler ends; `nil` without a limit.
    public let deadline: ContinuousClock.Instant?

    let jobs: JobQueue
    let board: ProgressBoard
    private let completion = Completion()

    /// What happens together with the acknowledgement.
    private final class Completion: Sendable {
        let transaction = Mutex(QueueTransaction())
    }

    init(_ job: StoredJob, _ message: QueueMessage, timeout: Duration?, jobs: JobQueue, board: ProgressBoard) {
        (id, name, self.message, self.jobs, self.board) = (job.id, job.name, message, jobs, board)
        deadline = timeout.map { .now + $0 }
        logger = jobs.queue.logger
        logger[metadataKey: "job"] = "\(name)"
        logger[metadataKey: "jobID"] = "\(id)"
        logger[metadataKey: "attempt"] = "\(message.deliveryCount)"
    }

    /// Reports how much of the job is done. ``JobQueue/runningJobs()`` shows it, usually within a second.
    ///
    /// - Parameter fraction: 0…1.
    /// - Throws: `CancellationError` when the handler is cancelled. A report that cannot be stored is dropped.
    public func progress(_ fraction: Double) async throws {
        try Task.checkCancellation()
        await board.report(fraction, of: message)
    }

    /// Stores another job when this one is acknowledged, in the same transaction: both happen once, or neither does.
    /// When the handler throws, the other job is not stored.
    ///
    /// - Throws: ``JobError`` when the job cannot be encoded, or is unique.
    public func pushOnCompletion<J: Job>(_ job: J, _ options: JobOptions = J.options) async throws {
        let message = try await jobs.message(for: job, options)
        completion.transaction.withLock { $0.send(message, to: jobs.queue) }
    }

    /// Sends a message to a queue of the same client when this job is acknowledged, in the same transaction.
    public func sendOnCompletion(_ message: OutgoingMessage, to queue: MessageQueue) {
        completion.transaction.withLock { $0.send(message, to: queue) }
    }

    /// Changes other nodes when this job is acknowledged, in the same transaction. If ZooKeeper refuses one of the
    /// operations, the job counts as failed.
    public func applyOnCompletion(_ operations: [ZooKeeperOperation]) {
        completion.transaction.withLock { transaction in
            for operation in operations { transaction.add(operation) }
        }
    }

    /// What the handler has added so far.
    var transaction: QueueTransaction { completion.transaction.withLock { $0 } }
}
