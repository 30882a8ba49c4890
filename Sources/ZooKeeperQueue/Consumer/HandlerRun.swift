import CoreMetrics
import Synchronization

/// One run of a handler for a message, with its time limit.
final class HandlerRun: Sendable {
    private let message: QueueMessage
    private let limit: Duration?
    private let retry: RetryPolicy?
    private let timedOut = Atomic(false)
    private let requeued = Atomic(false)

    /// How long a cancelled handler may take to end before its message is requeued.
    private static let grace = Duration.seconds(5)

    init(_ message: QueueMessage, limit: Duration?, retry: RetryPolicy?) {
        self.retry = retry
        self.message = message
        self.limit = limit
    }

    /// Whether the handler's time limit was reached.
    var hasTimedOut: Bool { timedOut.load(ordering: .acquiring) }
    /// Whether the message was requeued while the handler still ran.
    var wasRequeued: Bool { requeued.load(ordering: .acquiring) }

    var timedOutError: QueueError {
        QueueError(
            .handlerTimedOut,
            "\(reason(wasRequeued)). Raise the limit, or let the handler stop when its task is cancelled.")
    }

    private func reason(_ ignoresCancellation: Bool) -> String {
        "The handler did not end within its time limit of \(limit ?? .zero)"
            + (ignoresCancellation ? ", and goes on although it was cancelled" : "")
    }

    /// Runs the handler in a task that this method can cancel, and waits for it.
    func outcome<Result: Sendable>(
        of body: @escaping @Sendable (QueueMessage) async throws -> Result, cancelsWhenSuspended: Bool
    ) async -> Swift.Result<Result, any Error> {
        let work = Task { [message] in try await body(message) }
        return await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { [message] in
                    await message.untilLost(orSuspended: cancelsWhenSuspended)
                    // The watch also ends when it is cancelled, after the handler.
                    if !Task.isCancelled { work.cancel() }
                }
                if let limit {
                    group.addTask { [self] in
                        guard (try? await message.sleep(for: limit)) != nil else { return }
                        timedOut.store(true, ordering: .releasing)
                        message.metrics.handlerTimeouts.increment()
                        work.cancel()
                        guard (try? await message.sleep(for: Self.grace)) != nil else { return }
                        if await message.requeueUnended(reason: reason(true), retry: retry) {
                            requeued.store(true, ordering: .releasing)
                        }
                    }
                }
                let outcome = await work.result
                group.cancelAll()
                return outcome
            }
        } onCancel: {
            work.cancel()
        }
    }
}
