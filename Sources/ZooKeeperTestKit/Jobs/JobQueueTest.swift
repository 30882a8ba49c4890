public import ZooKeeperJobs
public import ZooKeeperQueue

/// A queue of jobs in memory, whose time stands still until the test advances it.
public struct JobQueueTest: Sendable {
    /// The queue, for the program under test.
    public let jobs: JobQueue
    /// The ZooKeeper that stores the queue.
    public let zookeeper: InMemoryZooKeeper
    /// The clock of the queue.
    public let clock: VirtualClock

    /// A job that is stored in the queue.
    public struct PushedJob<J: Job>: Sendable {
        /// The job.
        public let job: J
        /// Its ID.
        public let id: String
        /// Its headers.
        public let headers: [String: String]
        /// 0…999; a lower number is delivered first.
        public let priority: Int
        /// The key of its group.
        public let group: String?
        /// When the job becomes ready; `nil` when it is ready.
        public let dueAt: EnsembleTime?
    }

    /// One attempt to run a job.
    public struct Attempt: Sendable {
        /// The job's name; empty for a message that is not a job.
        public let name: String
        /// The job's ID; empty for a message that is not a job.
        public let id: String
        /// The number of the attempt, from 1 on.
        public let number: Int
        /// Why the attempt failed; `nil` when the job is done.
        public let error: (any Error)?
    }

    /// The time by the queue's clock.
    public var now: EnsembleTime { EnsembleTime(millisecondsSince1970: zookeeper.milliseconds) }

    // MARK: Looking

    /// Returns the jobs of a type that wait in the queue: those that are ready, in the order of their delivery, and
    /// then those that are delayed. Of a group, only the first job is ready.
    ///
    /// - Throws: `QueueError`; the error of the coder for a job that cannot be decoded.
    public func pushed<J: Job>(_ type: J.Type) async throws -> [PushedJob<J>] {
        let ready = try await jobs.queue.peek(limit: Self.limit).compactMap { message in
            try jobs.decode(type, message.payload, message.headers).map { job, id in
                PushedJob(
                    job: job, id: id, headers: message.headers, priority: message.priority, group: message.group,
                    dueAt: nil)
            }
        }
        let delayed = try await jobs.queue.delayedMessages(limit: Self.limit).compactMap { message in
            try jobs.decode(type, message.payload, message.headers).map { job, id in
                PushedJob(
                    job: job, id: id, headers: message.headers, priority: message.priority, group: message.group,
                    dueAt: message.dueAt)
            }
        }
        return ready + delayed
    }

    private static let limit = 100_000

    // MARK: Running

    /// Runs jobs one after the other until none is ready, and returns the attempts in their order.
    ///
    /// - Parameter worker: has the handlers. Its service need not run.
    /// - Throws: `JobError` for an invalid worker; `QueueError`.
    @discardableResult
    public func run(_ worker: JobWorker) async throws -> [Attempt] {
        let runner = try worker.runner()
        var attempts: [Attempt] = []
        // It claims nothing in advance, so every other message counts as ready.
        var configuration = QueueConsumer.Configuration()
        configuration.pullsOnDemand = true
        let consumer = QueueConsumer(jobs.queue, configuration: configuration)
        do {
            var messages = consumer.makeAsyncIterator()
            while try await isReady(), let message = try await messages.next() {
                attempts.append(await attempt(message, runner))
            }
        } catch {
            await consumer.close(gracePeriod: .zero)
            throw error
        }
        await consumer.close(gracePeriod: .zero)
        return attempts
    }

    private func attempt(_ message: QueueMessage, _ runner: JobRunner) async -> Attempt {
        let job = JobQueue.describe(message.headers)
        var failure: (any Error)?
        do {
            try await runner.run(message)
        } catch {
            failure = error
        }
        return Attempt(name: job?.name ?? "", id: job?.id ?? "", number: message.deliveryCount, error: failure)
    }

    private func isReady() async throws -> Bool {
        let statistics = try await jobs.queue.statistics()
        return statistics.ready > 0 && !statistics.paused.contains(.consume)
    }

    /// Advances the clock, and runs everything that becomes due on the way, at its time: delayed and retried jobs, and
    /// the ticks of schedules.
    ///
    /// - Parameters:
    ///   - duration: how far to advance.
    ///   - worker: has the handlers; `nil` runs no jobs.
    ///   - schedules: push jobs at their ticks. Their services need not run. A schedule without an earlier tick begins
    ///     with this call.
    /// - Returns: the attempts in their order.
    /// - Throws: `JobError` for an invalid worker; `QueueError`.
    @discardableResult
    public func advance(
        by duration: Duration, running worker: JobWorker? = nil, _ schedules: JobSchedule...
    ) async throws -> [Attempt] {
        let end = now.advanced(by: duration)
        let recovery = QueueRecovery(jobs.queue)
        var attempts: [Attempt] = []
        while true {
            var next = end
            for schedule in schedules {
                var pause = Duration.zero
                while pause == .zero { pause = try await schedule.push() }
                next = min(next, now.advanced(by: pause))
            }
            try await recovery.recover()
            if let worker { attempts += try await run(worker) }
            if let due = try await jobs.queue.statistics().nextDueAt, due > now { next = min(next, due) }
            if now >= end { return attempts }
            await clock.advance(by: now.duration(to: next))
        }
    }
}
