public import CoreMetrics
import Logging
public import ServiceLifecycle
import ZooKeeper

/// Requeues the messages of failed consumers, and removes nodes that are no longer needed.
///
/// Run at least one recovery for each queue. You can run as many as you like: usually one acts at a time, and two at
/// once do no harm. A recovery takes the messages of consumers whose session has ended. It requeues them at their old
/// positions with their delivery count raised (after ``QueueAttributes/redeliveryDelay``), or moves them to the dead
/// letters when they were delivered ``QueueAttributes/maximumDeliveries`` times. It also removes the nodes of failed
/// consumers and of producers that are gone, items that were never filled, and expired deduplication IDs, and it rolls
/// the sequence numbers over.
///
/// It removes a node for its age only when the node is old by the ensemble's clock and this recovery has itself seen
/// the node unchanged for that long. So a jump of a server's clock removes nothing.
public actor QueueRecovery {
    private let queue: MessageQueue
    private let configuration: Configuration
    private let lock: RecoveryLock
    private let metrics: SequenceUsageMetrics
    private var isRunning = false
    private var isPrepared = false
    private let mover: MessageMover
    private let observations = Observations()
    /// When the recovery last counted the messages for the metrics, by the store's clock.
    private var lastCount: Duration?
    /// When the recovery last looked for unneeded nodes, by the store's clock.
    private var lastCleaning: Duration?

    /// Creates a recovery. It does nothing before ``run()`` or ``recover()``.
    ///
    /// - Parameters:
    ///   - queue: the queue to recover.
    ///   - configuration: how often it runs, and what it removes.
    ///   - metricsFactory: creates the gauges `zookeeper_queue_counter` and `zookeeper_queue_counter_end`, with the
    ///     dimensions `queue` and `counter`: the value of each ``SequenceUsage``, and its limit. Default: the
    ///     factory of the `MetricsSystem`.
    public init(
        _ queue: MessageQueue, configuration: Configuration = .init(),
        metricsFactory: any MetricsFactory = MetricsSystem.factory
    ) {
        self.queue = queue
        self.configuration = configuration
        lock = RecoveryLock(queue, at: queue.tree.recoveryLock)
        mover = MessageMover(queue)
        metrics = SequenceUsageMetrics(queue: queue.path, factory: metricsFactory)
    }

    /// Runs one pass over the queue. Waits while another recovery acts.
    ///
    /// - Returns: a report of the pass.
    /// - Throws: ``QueueError``, with ``QueueError/Code/invalidArgument`` for an invalid ``Configuration`` before anything
    ///   is sent; `CancellationError`. Transactions that were applied by then stay applied, and each of them is complete.
    @discardableResult
    public func recover() async throws -> RecoveryReport { try await recover(movesDelayed: true) }

    /// - Parameter movesDelayed: whether the pass moves delayed messages too. ``run()`` moves them between the passes.
    private func recover(movesDelayed: Bool) async throws -> RecoveryReport {
        try configuration.validate()
        if !isPrepared {
            try await queue.prepare()
            isPrepared = true
        }
        return try await QueueError.translating(while: "recovering messages", queue: queue.path) {
            try await lock.hold { turn in try await pass(now: turn.now, movesDelayed: movesDelayed) }
        }
    }

    private func pass(now: Int64, movesDelayed: Bool) async throws -> RecoveryReport {
        try await queue.folders.restoreMissing()
        // Throws for a format that this release does not know, before any duty runs.
        _ = try await queue.reader.sequenceEpoch()
        let ages = NodeAges(now: now, store: queue.store, observations: observations)
        var pass = RecoveryPass()
        defer {
            queue.metrics.recovered.increment(by: pass.report.recovered)
            queue.metrics.deadLettered.increment(by: pass.report.deadLettered)
        }
        try await pass.run([
            ConsumerRecovery(queue: queue, mover: mover, ages: ages),
            Redelivery(queue: queue, mover: mover, ages: ages),
            SequenceRollover(queue: queue, mover: mover),
        ])
        let time = EnsembleTime(millisecondsSince1970: now)
        if movesDelayed {
            try await pass.run([DueMessages(queue: queue, mover: mover, now: time)])
        }
        // Unneeded nodes can wait, and looking for them reads the list of all messages.
        if lastCleaning.map({ queue.store.now - $0 >= configuration.cleaningInterval }) ?? true {
            try await pass.run([
                ProducerStateCleanup(queue: queue, ages: ages, retention: configuration.producerStateRetention),
                IncompleteItemCleanup(queue: queue, ages: ages, age: configuration.incompleteItemAge),
                ExpirySweep(
                    queue: queue, mover: mover, now: time, interval: configuration.cleaningInterval),
            ])
            await recordSequenceUsage()
            await recordOldestMessage(time)
            lastCleaning = queue.store.now
            observations.forgetUnseen()
        }
        try await pass.run([DeduplicationExpiry(queue: queue, ages: ages)])
        let report = try pass.result()
        await recordMessages()
        if !report.isEmpty {
            queue.logger.info(
                "Completed a recovery pass",
                metadata: [
                    "recovered": "\(report.recovered)", "redelivered": "\(report.redelivered)",
                    "deadLettered": "\(report.deadLettered)", "madeReady": "\(report.madeReady)",
                    "expired": "\(report.expired)",
                    "consumersRemoved": "\(report.consumersRemoved)",
                    "producerStatesRemoved": "\(report.producerStatesRemoved)",
                    "incompleteItemsRemoved": "\(report.incompleteItemsRemoved)",
                    "deduplicationIDsExpired": "\(report.deduplicationIDsExpired)",
                    "sequenceRollovers": "\(report.sequenceRollovers)",
                ])
        }
        return report
    }
}

extension QueueRecovery {
    /// How often the messages are counted for the metrics.
    private static let countingInterval = Duration.seconds(15)

    /// Records the messages by state.
    private func recordMessages() async {
        let now = queue.store.now
        guard queue.metrics.isEnabled, lastCount.map({ now - $0 >= Self.countingInterval }) ?? true else { return }
        lastCount = now
        do {
            queue.metrics.record(try await queue.statistics())
        } catch {
            queue.logger.debug("Could not count the messages", metadata: ["error": "\(error)"])
        }
    }

    /// Records the age of the oldest message, which lists all ready messages.
    private func recordOldestMessage(_ now: EnsembleTime) async {
        guard queue.metrics.isEnabled else { return }
        do {
            let age = try await queue.inspector.oldestMessageAge(at: now) ?? .zero
            queue.metrics.oldestMessageAge.record(age / .seconds(1))
        } catch {
            queue.logger.debug("Could not find the oldest message", metadata: ["error": "\(error)"])
        }
    }

    private func recordSequenceUsage() async {
        do {
            metrics.record(try await queue.sequenceUsage())
        } catch {
            // The metrics are optional: the client may lack permissions, or the servers may not respond for now.
            queue.logger.debug("Could not read the sequence numbers", metadata: ["error": "\(error)"])
        }
    }
}

extension QueueRecovery: Service {
    /// Runs passes over the queue until the service group shuts down or the task is cancelled. Continues
    /// when servers do not respond.
    ///
    /// - Throws: ``QueueError`` for errors that retrying cannot fix,
    ///   ``QueueError/Code/alreadyRunning`` at the second call.
    public func run() async throws {
        guard !isRunning else {
            throw QueueError(.alreadyRunning, "run() was already called. Create another QueueRecovery to run again.")
        }
        isRunning = true
        try configuration.validate()
        try await cancelWhenGracefulShutdown {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { [queue = self.queue, mover = self.mover] in
                    var delayedMover = DelayedMover(queue, mover)
                    await delayedMover.run()
                }
                defer { group.cancelAll() }
                try await self.runPasses()
            }
        }
    }

    private func runPasses() async throws {
        while !Task.isCancelled {
            do {
                _ = try await recover(movesDelayed: false)
            } catch let error as QueueError where error.cause?.isRetryable == true {
                // The next pass tries again.
            } catch is CancellationError {
                return
            }
            // A pause is needed, because no event reports a session that ends elsewhere.
            try? await queue.store.sleep(for: configuration.interval)
        }
    }
}
