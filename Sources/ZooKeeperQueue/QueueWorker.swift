import Logging
public import ServiceLifecycle

/// A `Service` that runs a handler on each message of a queue.
///
/// Each message is acknowledged when the handler returns and given back when it throws; the handler's task is cancelled
/// when the lease is lost. At a graceful shutdown it takes no more messages, lets handlers finish for up to its grace
/// period, and gives back the rest.
///
/// ```swift
/// let worker = QueueWorker(QueueConsumer(queue), concurrency: 4) { message in try await handle(message) }
/// try await ServiceGroup(services: [zookeeper, QueueRecovery(queue), worker], …).run()
/// ```
public struct QueueWorker: Service {
    private let consumer: QueueConsumer
    private let concurrency: Int
    private let gracePeriod: Duration
    private let handler: @Sendable (QueueMessage) async throws -> Void

    /// Creates a worker.
    ///
    /// - Parameters:
    ///   - consumer: where the messages come from. The worker closes it at its end.
    ///   - concurrency: how many handlers run at once, at most the consumer's prefetch. Default: 1.
    ///   - gracePeriod: how long handlers may go on after a graceful shutdown has begun. Default: 30 seconds.
    ///   - handler: what to do with a message.
    public init(
        _ consumer: QueueConsumer, concurrency: Int = 1, gracePeriod: Duration = .seconds(30),
        handler: @escaping @Sendable (QueueMessage) async throws -> Void
    ) {
        self.consumer = consumer
        self.concurrency = max(1, concurrency)
        self.gracePeriod = gracePeriod
        self.handler = handler
    }

    /// What has ended.
    private enum End {
        case slot((any Error)?)
        case closed
    }

    /// Handles messages until the service group shuts down, the task is cancelled or the consumer is closed.
    ///
    /// At a graceful shutdown no more messages are taken. Handlers at work may finish within the grace period; then they are
    /// cancelled, and their messages go back uncounted.
    ///
    /// - Throws: ``QueueError`` for what waiting cannot cure: no permission, a queue that is gone.
    public func run() async throws {
        await consumer.expect(handlers: concurrency)
        let failure = await withTaskGroup(of: End.self) { group in
            group.addTask {
                try? await gracefulShutdown()
                await consumer.close(gracePeriod: gracePeriod)
                return .closed
            }
            for _ in 0..<concurrency {
                group.addTask {
                    do {
                        try await handleAll()
                        return .slot(nil)
                    } catch {
                        return .slot(error)
                    }
                }
            }
            var (failure, left) = (nil as (any Error)?, concurrency)
            for await end in group {
                switch end {
                case .closed:
                    // The grace period is over, or nothing is held any more.
                    group.cancelAll()
                case .slot(let error):
                    left -= 1
                    if left == 0 { group.cancelAll() }
                    guard let error, failure == nil else { continue }
                    failure = error
                    // The others end as at a graceful shutdown.
                    group.addTask {
                        await consumer.close(gracePeriod: gracePeriod)
                        return .closed
                    }
                }
            }
            return failure
        }
        await consumer.close(gracePeriod: gracePeriod)
        if let failure, !(failure is CancellationError) { throw failure }
    }

    private func handleAll() async throws {
        for try await message in consumer {
            do {
                try await message.process { try await handler($0) }
            } catch {
                // The message is given back, or it was lost: the next one is not concerned.
                consumer.queue.logger.debug(
                    "A handler failed", metadata: ["message": "\(message.name)", "error": "\(type(of: error))"])
            }
        }
    }
}
