import Logging
public import ServiceLifecycle

/// A `Service` that runs a handler on each message of a queue.
///
/// It acknowledges a message when the handler returns, and requeues it when the handler throws: the message comes back
/// after the delay of the retry policy. When the handler throws
/// ``RejectedMessage``, the message moves to the dead letters at once. The worker cancels the handler's task when the
/// lease is lost. At a graceful shutdown it takes no more messages, gives running handlers a
/// grace period to finish, and returns the remaining messages.
///
/// ```swift
/// let worker = QueueWorker(QueueConsumer(queue), concurrency: 4) { message in try await handle(message) }
/// try await ServiceGroup(services: [zookeeper, QueueRecovery(queue), worker], logger: logger).run()
/// ```
public struct QueueWorker: Service {
    private let consumer: QueueConsumer
    private let concurrency: Int
    private let gracePeriod: Duration
    private let retry: RetryPolicy?
    private let process: @Sendable (QueueMessage) async throws -> Void

    /// Creates a worker.
    ///
    /// - Parameters:
    ///   - consumer: delivers the messages. The worker closes it when the worker ends.
    ///   - concurrency: how many handlers run at once. The consumer's prefetch limits it too. Default: 1.
    ///   - gracePeriod: how long handlers may go on after a graceful shutdown has begun. Default: 30 seconds.
    ///   - retry: how long the message of a failed handler waits. Default: the queue's ``QueueAttributes/retry``.
    ///   - handlerTimeout: how long a handler may take before its task is cancelled and its message requeued. If the
    ///     handler ignores the cancellation, the message is requeued five seconds later, and this slot of the worker
    ///     stays occupied until the handler ends. Default: no limit.
    ///   - handler: processes one message.
    public init(
        _ consumer: QueueConsumer, concurrency: Int = 1, gracePeriod: Duration = .seconds(30),
        retry: RetryPolicy? = nil, handlerTimeout: Duration? = nil,
        handler: @escaping @Sendable (QueueMessage) async throws -> Void
    ) {
        self.consumer = consumer
        self.concurrency = max(1, concurrency)
        self.gracePeriod = gracePeriod
        self.retry = retry
        process = { message in
            try await message.process(retry: retry, timeout: handlerTimeout) { try await handler($0) }
        }
    }

    /// Creates a worker whose closure also settles the message.
    package init(
        settledByHandler consumer: QueueConsumer, concurrency: Int, gracePeriod: Duration,
        process: @escaping @Sendable (QueueMessage) async throws -> Void
    ) {
        self.consumer = consumer
        self.concurrency = concurrency
        self.gracePeriod = gracePeriod
        retry = nil
        self.process = process
    }

    /// The event that a child task of ``run()`` ended with.
    private enum End {
        case slot((any Error)?)
        case closed
    }

    /// Handles messages until the service group shuts down, the task is cancelled or the consumer is closed.
    ///
    /// At a graceful shutdown it takes no more messages. Running handlers may finish within the grace period. After
    /// that they are cancelled, and their messages are returned: the delivery does not count. The call then waits until
    /// each handler has ended, also for one that ignores its cancellation.
    ///
    /// - Throws: ``QueueError`` for errors that retrying cannot fix, such as a missing permission or a deleted queue.
    public func run() async throws {
        try retry?.validate()
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
                    // The grace period is over, or the consumer holds no more messages.
                    group.cancelAll()
                case .slot(let error):
                    left -= 1
                    if left == 0 { group.cancelAll() }
                    guard let error, failure == nil else { continue }
                    failure = error
                    // The other handlers end as at a graceful shutdown.
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

    private func report(_ error: any Error, of message: QueueMessage) async {
        // A handler that is cancelled at a shutdown has not failed. The worker's own task may not be cancelled yet.
        let isEnding = if Task.isCancelled { true } else { await consumer.state.phase != .open }
        let level: Logger.Level = error is CancellationError && isEnding ? .debug : .warning
        consumer.queue.logger.log(
            level: level, "A handler failed",
            metadata: [
                "message": "\(message.nodeName)", "deliveryCount": "\(message.deliveryCount)",
                "error": "\(FailureReason.description(of: error))",
            ])
    }

    private func handleAll() async throws {
        for try await message in consumer {
            do {
                try await process(message)
            } catch {
                // The message was requeued, or its lease was lost. Neither affects the next message.
                await report(error, of: message)
            }
        }
    }
}
