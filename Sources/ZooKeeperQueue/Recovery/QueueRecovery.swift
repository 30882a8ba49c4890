public import CoreMetrics
import Logging
public import ServiceLifecycle
import ZooKeeper

/// Finds consumers that have failed and gives their messages back to the queue; removes what nobody needs any more.
///
/// Run at least one for each queue, as many as you like: one acts at a time, as a rule, and two at once do no harm. It
/// takes the messages of consumers whose session has ended, gives them back in their old places with their delivery
/// count raised (after ``QueueSettings/redeliveryDelay``), or moves them to the dead letters when they were delivered
/// ``QueueSettings/maximumDeliveries`` times. It removes the nodes of failed consumers, the lanes of producers that are
/// gone, and items that were never filled.
///
/// It removes a node for its age only when the node is old by the ensemble's clock, and this recovery has itself seen
/// it unchanged for that long. So a jump of a server's clock removes nothing.
public actor QueueRecovery {
    private let queue: MessageQueue
    private let period: Duration
    /// How often the recovery looks for garbage.
    private let cleaningPeriod: Duration
    private let lock: RecoveryLock
    private let metrics: CounterMetrics
    private var isRunning = false
    private var isPrepared = false
    private let mover: MessageMover
    private let observations = Observations()
    /// When the recovery last looked for garbage, by the store's clock.
    private var lastCleaning: Duration?

    /// Creates a recovery; nothing is done before ``run()`` or ``recover()``.
    ///
    /// - Parameters:
    ///   - queue: what to look after.
    ///   - period: how long to rest between two passes. Default: 5 seconds.
    ///   - metricsFactory: gets the gauges `zookeeper_queue_counter` and `zookeeper_queue_counter_end`, with the
    ///     dimensions `queue` and `counter`: how far each ``QueueCounter`` is, and where it ends. By default the
    ///     system's.
    public init(
        _ queue: MessageQueue, every period: Duration = .seconds(5),
        metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) {
        self.init(queue, every: period, cleaningEvery: .seconds(60), metricsFactory: metricsFactory)
    }

    package init(
        _ queue: MessageQueue, every period: Duration = .seconds(5), cleaningEvery cleaningPeriod: Duration,
        metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) {
        self.queue = queue
        self.period = period
        self.cleaningPeriod = cleaningPeriod
        lock = RecoveryLock(queue)
        mover = MessageMover(queue)
        metrics = CounterMetrics(queue: queue.path, factory: metricsFactory)
    }

    /// Looks through the queue once, when no other recovery acts.
    ///
    /// - Returns: what was done.
    /// - Throws: ``QueueError``; `CancellationError`. What was done by then stays done, and every step is complete.
    @discardableResult
    public func recover() async throws -> RecoveryReport {
        if !isPrepared {
            try await queue.prepare()
            isPrepared = true
        }
        return try await QueueError.translating(while: "recovering", queue: queue.path) {
            do {
                let now = try await lock.acquire()
                let report = try await whileGivingSigns { try await pass(now: now) }
                await lock.release()
                return report
            } catch {
                await lock.release()
                throw error
            }
        }
    }

    private func whileGivingSigns<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { [lock] group in
            group.addTask { await lock.giveSigns() }
            defer { group.cancelAll() }
            return try await body()
        }
    }

    private func pass(now: Int64) async throws -> RecoveryReport {
        try await queue.folders.restoreMissing()
        // Throws for a format that this release does not know, before any duty runs.
        _ = try await queue.reader.sequenceEpoch()
        let ages = NodeAges(now: now, store: queue.store, observations: observations)
        var pass = RecoveryPass()
        try await pass.run([
            ConsumerRecovery(queue: queue, mover: mover, ages: ages),
            Redelivery(queue: queue, mover: mover, ages: ages),
            SequenceRollover(queue: queue, mover: mover),
        ])
        // Garbage can wait, and looking for it reads the list of all messages.
        if lastCleaning.map({ queue.store.now - $0 >= cleaningPeriod }) ?? true {
            try await pass.run([
                ProducerStateCleanup(queue: queue, ages: ages),
                IncompleteItemCleanup(queue: queue, ages: ages),
            ])
            await recordCounters()
            lastCleaning = queue.store.now
            observations.forgetUnseen()
        }
        try await pass.run([DeduplicationExpiry(queue: queue, ages: ages)])
        let report = try pass.result()
        if !report.isEmpty {
            queue.logger.info(
                "Recovered",
                metadata: [
                    "recovered": "\(report.recovered)", "redelivered": "\(report.redelivered)",
                    "deadLettered": "\(report.deadLettered)", "consumersRemoved": "\(report.consumersRemoved)",
                    "epochsBegun": "\(report.epochsBegun)",
                ])
        }
        return report
    }
}

extension QueueRecovery {
    private func recordCounters() async {
        do {
            metrics.record(try await queue.counters())
        } catch {
            // A recovery may do without: with fewer rights, or until servers answer again.
            queue.logger.debug("The counters could not be read", metadata: ["error": "\(error)"])
        }
    }
}

extension QueueRecovery: Service {
    /// Looks through the queue again and again, until the service group shuts down or the task is cancelled. Servers
    /// that do not answer are waited for.
    ///
    /// - Throws: ``QueueError`` for what waiting cannot cure, ``QueueError/Code/alreadyRunning`` at the second call.
    public func run() async throws {
        guard !isRunning else {
            throw QueueError(.alreadyRunning, "run() was called already: a recovery runs once.")
        }
        isRunning = true
        try await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await self.recover()
                } catch let error as QueueError where error.cause?.isPassing == true {
                    // The next pass looks again.
                } catch is CancellationError {
                    return
                }
                // The period of a service that looks for what no event tells: a session that ends elsewhere.
                try? await self.queue.store.sleep(for: self.period)
            }
        }
    }
}
