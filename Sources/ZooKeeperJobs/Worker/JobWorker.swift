public import ServiceLifecycle
public import ZooKeeperQueue

/// A `Service` that runs the handlers of jobs.
///
/// ```swift
/// let worker = JobWorker(jobs, concurrency: 8)
///     .handle(ChargeCard.self, timeout: .seconds(30), concurrency: 2) { job, context in
///         try await charge(job.order, job.cents)
///     }
///     .use(LoggingMiddleware())
/// try await ServiceGroup(services: [zookeeper, QueueRecovery(queue), worker], logger: logger).run()
/// ```
///
/// The worker acknowledges a job when its handler returns, and retries it when the handler throws. A handler that
/// throws `RejectedMessage` moves its job to the dead letters, and one that throws ``RetryJob`` chooses its delay.
/// Delivery is at least once: see ``JobContext/attempt``, and `QueueMessage.fencingToken`.
///
/// **Every worker of a queue must handle all jobs of the queue**, except during a deployment: give other jobs a queue
/// of their own. The worker requeues a message that no handler accepts, with the delay `unhandled`, because a newer
/// worker may know it. After the queue's `maximumDeliveries`, it becomes a dead letter with the reason.
public struct JobWorker: Service {
    let jobs: JobQueue
    let concurrency: Int
    let unhandled: RetryPolicy
    private let gracePeriod: Duration
    private(set) var handlers: [(names: [String], handler: JobHandler)] = []
    private(set) var middleware: [any JobMiddleware] = []

    /// The delay of a message that no handler accepts: from one second to one minute.
    public static let defaultUnhandled = RetryPolicy.exponential(initial: .seconds(1), maximum: .seconds(60))

    /// Creates a worker without handlers.
    ///
    /// - Parameters:
    ///   - jobs: delivers the jobs.
    ///   - concurrency: how many handlers run at once. Default: 1.
    ///   - gracePeriod: how long handlers may go on after a graceful shutdown has begun. Default: 30 seconds.
    ///   - unhandled: how long a message waits that no handler accepts. Default: ``defaultUnhandled``.
    public init(
        _ jobs: JobQueue, concurrency: Int = 1, gracePeriod: Duration = .seconds(30),
        unhandled: RetryPolicy = Self.defaultUnhandled
    ) {
        self.jobs = jobs
        self.concurrency = max(1, concurrency)
        self.gracePeriod = gracePeriod
        self.unhandled = unhandled
    }

    /// Returns the worker with a handler for a type of job.
    ///
    /// - Parameters:
    ///   - type: the type. The worker accepts its name, its former names, and its version or an earlier one.
    ///   - retry: how long a job waits after its handler has failed. Default: the queue's `retry`.
    ///   - timeout: how long the handler may take before it is cancelled and its job retried. Default: no limit.
    ///   - maximumAttempts: after how many attempts a job becomes a dead letter. Every delivery counts, even to a worker
    ///     that does not know the job. The queue's `maximumDeliveries` also applies. Default: only it.
    ///   - concurrency: how many jobs of this type run at once in this worker. Jobs that wait for their turn keep their
    ///     leases. A backlog of one type can still delay the others: give that type a queue of its own. Default: no
    ///     limit.
    ///   - body: does the work.
    public func handle<J: Job>(
        _ type: J.Type, retry: RetryPolicy? = nil, timeout: Duration? = nil, maximumAttempts: Int? = nil,
        concurrency: Int? = nil, _ body: @escaping @Sendable (J, JobContext) async throws -> Void
    ) -> JobWorker {
        let handler = JobHandler(
            name: J.name, version: J.version, retry: retry, timeout: timeout, maximumAttempts: maximumAttempts,
            concurrency: concurrency
        ) { payload in
            let job = try J.decode(payload)
            return { context in try await body(job, context) }
        }
        var worker = self
        worker.handlers.append((names: [J.name] + J.formerNames, handler: handler))
        return worker
    }

    /// Returns the worker with middleware that runs around every handler. The first one is the outermost.
    public func use(_ middleware: any JobMiddleware...) -> JobWorker {
        var worker = self
        worker.middleware += middleware
        return worker
    }

    /// Runs jobs until the service group shuts down or the task is cancelled.
    ///
    /// At a graceful shutdown the worker takes no more jobs, lets handlers finish within the grace period, and returns
    /// the rest to the queue.
    ///
    /// - Throws: ``JobError/Code/invalidWorker`` before it begins; `QueueError` for errors that retrying cannot fix.
    public func run() async throws {
        try validate()
        let board = ProgressBoard(jobs)
        let runner = JobRunner(self, board: board)
        // As many jobs as may run can wait for a limit of their type, and leave the handlers to other types.
        let slots = handlers.contains { $0.handler.concurrency != nil } ? 2 * concurrency : concurrency
        let worker = QueueWorker(
            settledByHandler: QueueConsumer(jobs.queue, configuration: .init(prefetch: max(128, slots))),
            concurrency: slots, gracePeriod: gracePeriod
        ) { try await runner.run($0) }
        let sweep = ExpirySweep(jobs)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await board.run() }
            group.addTask { await sweep.run() }
            defer { group.cancelAll() }
            try await worker.run()
        }
    }

    /// Returns what runs single messages, without a service.
    package func runner() throws -> JobRunner {
        try validate()
        return JobRunner(self, board: ProgressBoard(jobs))
    }

    private func validate() throws {
        try unhandled.validate()
        var names: Set<String> = []
        for (aliases, handler) in handlers {
            try handler.validate()
            for name in aliases where !names.insert(name).inserted {
                throw JobError(.invalidWorker, "Two handlers accept the job \(name). Remove one of them.")
            }
        }
        guard !handlers.isEmpty else {
            throw JobError(.invalidWorker, "The worker has no handler. Add one with handle().")
        }
    }
}
