import CoreMetrics
package import ZooKeeperQueue

/// Runs the jobs of one worker: finds the handler of a message, waits for its turn, runs it, and settles the message.
package struct JobRunner: Sendable {
    private typealias Body = @Sendable (JobContext) async throws -> Void
    private let jobs: JobQueue
    private let board: ProgressBoard
    private let handlers: [String: (handler: JobHandler, limiter: Limiter?)]
    private let middleware: [any JobMiddleware]
    private let unhandled: RetryPolicy
    /// All handlers together.
    private let limiter: Limiter

    init(_ worker: JobWorker, board: ProgressBoard) {
        jobs = worker.jobs
        self.board = board
        middleware = worker.middleware
        unhandled = worker.unhandled
        limiter = Limiter(worker.concurrency)
        // Handlers of one type share its limit, under each of its names.
        var handlers: [String: (handler: JobHandler, limiter: Limiter?)] = [:]
        for entry in worker.handlers {
            let limiter = entry.handler.concurrency.map(Limiter.init)
            for name in entry.names { handlers[name] = (entry.handler, limiter) }
        }
        self.handlers = handlers
    }

    /// Runs the job of a message, and settles the message.
    ///
    /// - Throws: the error for which the message was requeued or dead-lettered, or why it could not be settled.
    package func run(_ message: QueueMessage) async throws {
        do {
            try await runInTurn(message)
        } catch {
            if let job = StoredJob(message.headers) { await releaseLock(of: job, message, after: error) }
            throw error
        }
    }

    private func runInTurn(_ message: QueueMessage) async throws {
        let (job, handler, limiter, body): (StoredJob, JobHandler, Limiter?, Body)
        do {
            (job, handler, limiter, body) = try prepare(message)
        } catch {
            // Another worker may know the job, for example one of a newer release.
            jobs.metrics.unhandled.increment()
            return try await message.process(retry: unhandled) { _ in throw error }
        }
        do {
            if let limiter {
                try await limiter.run { try await self.limiter.run { try await run(message, job, handler, body) } }
            } else {
                try await self.limiter.run { try await run(message, job, handler, body) }
            }
        } catch is CancellationError where message.leaseState == .held {
            // The worker ended before it was this message's turn. In a cancelled task, this returns the message without
            // counting the delivery.
            try await message.process { _ in throw CancellationError() }
        }
    }

    private func prepare(
        _ message: QueueMessage
    ) throws -> (StoredJob, JobHandler, Limiter?, Body) {
        guard let job = StoredJob(message.headers) else {
            throw JobError(.unhandled, "The message is not a job that this release can read.")
        }
        guard let (handler, limiter) = handlers[job.name], job.version <= handler.version, job.version >= 1 else {
            throw JobError(.unhandled, "No handler accepts the job \(job.name) in version \(job.version).")
        }
        guard job.contentType == jobs.coder.contentType else {
            throw JobError(.unhandled, "The job \(job.name) is encoded as \(job.contentType), which is not supported.")
        }
        do {
            let payload = JobPayload(version: job.version, bytes: message.payload, coder: jobs.coder)
            return (job, handler, limiter, try handler.prepare(payload))
        } catch {
            // The error's text could contain the payload, so only its type is kept.
            throw JobError(
                .unhandled,
                "The job \(job.name) in version \(job.version) could not be decoded: \(Self.kind(of: error)).")
        }
    }

    /// Describes a decoding error by its kind, and by the name of a missing key. The place could have keys of the
    /// payload's dictionaries.
    private static func kind(of error: any Error) -> String {
        switch error as? DecodingError {
        case .typeMismatch?: "type mismatch"
        case .valueNotFound?: "value not found"
        case .keyNotFound(let key, _)?: "key \(key.stringValue) not found"
        case .dataCorrupted?: "data corrupted"
        default: "\(type(of: error))"
        }
    }

    private func run(_ message: QueueMessage, _ job: StoredJob, _ handler: JobHandler, _ body: @escaping Body)
        async throws
    {
        // The message may have waited for its turn for minutes.
        if message.leaseState == .lost {
            throw QueueError(.leaseLost, "The lease was lost before it was the job's turn. It will be redelivered.")
        }
        if let time = message.expiresAt, try await jobs.clock.now() >= time {
            // The next consumer that claims it settles it as the queue's attributes say.
            return try await message.requeue(reason: "it expired while it waited for its turn")
        }
        await board.began(job, message)
        let metrics = jobs.metrics.type(handler.name)
        let start = ContinuousClock.now
        defer { metrics.duration.record(start.duration(to: .now)) }
        do {
            try await message.process(
                retry: handler.retry, timeout: handler.timeout, job: handler.name
            ) { message in
                try await attempt(message, job, handler, body)
            }
        } catch {
            await board.ended(message)
            if !(error is CancellationError) { metrics.failed.increment() }
            throw error
        }
        metrics.handled.increment()
        await board.ended(message)
    }

    /// Runs the handler once, and acknowledges the message. What it throws decides on the retry.
    private func attempt(
        _ message: QueueMessage, _ job: StoredJob, _ handler: JobHandler, _ body: @escaping Body
    ) async throws {
        if message.deliveryCount > handler.maximumAttempts ?? .max {
            // The last attempt ended at its time limit, or with its process.
            throw RejectedMessage("the last attempt did not end")
        }
        // Before the handler, because an equal job that is pushed from now on must run after it.
        if let lock = job.lock, lock.event == .started { try await jobs.remove(lock, of: job) }
        let context = JobContext(job, message, timeout: handler.timeout, jobs: jobs, board: board)
        do {
            try await call(body, context)
            try await JobCompletion(job: job, context: context).acknowledge()
        } catch let error as RetryJob where !isLast(message, handler) {
            try await message.requeue(after: error.delay, reason: error.reason)
            throw error
        } catch let error where isLast(message, handler) && !(error is RejectedMessage) && !Task.isCancelled {
            throw RejectedMessage("the last attempt failed: \(FailureReason.description(of: error))")
        }
    }

    /// Runs the handler inside of the middleware. The first middleware is the outermost.
    private func call(_ body: @escaping Body, _ context: JobContext) async throws {
        let chain = middleware.reversed().reduce(body) { next, middleware in
            { context in try await middleware.run(context, next: next) }
        }
        try await chain(context)
    }

    private func isLast(_ message: QueueMessage, _ handler: JobHandler) -> Bool {
        message.deliveryCount >= handler.maximumAttempts ?? .max
    }

    /// Releases a job's lock after its message has become a dead letter.
    private func releaseLock(of job: StoredJob, _ message: QueueMessage, after error: any Error) async {
        guard let lock = job.lock, lock.event != nil, message.leaseState == .settled, !(error is CancellationError),
            let queue = try? await jobs.queue.attributes()
        else { return }
        // Only such a message can be a dead letter. To find it costs some requests.
        guard error is RejectedMessage || message.deliveryCount >= queue.maximumDeliveries,
            case .deadLettered? = try? await jobs.queue.message(nodeName: message.nodeName)?.place
        else { return }
        try? await jobs.remove(lock, of: job)
    }
}
