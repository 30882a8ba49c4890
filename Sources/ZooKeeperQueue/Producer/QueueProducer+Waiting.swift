import ZooKeeper

/// How long callers wait for their sends.
extension QueueProducer {
    /// Waits for a send that `register` registers, until it has a result, its deadline passes, or the task is
    /// cancelled.
    func waiting(_ register: (PendingSends.Waiter) -> SendID) async throws -> [SendReceipt] {
        // The handler may run at once, before there is a number, or at any later time.
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter in
                let id = register(waiter)
                watchDeadlines()
                if cancellation.arm(id) { cancel(id) }
            }
        } onCancel: {
            if let id = cancellation.fire() { Task { await self.cancel(id) } }
        }
    }

    private func cancel(_ id: SendID) {
        stopWaiting(for: id, notSent: CancellationError(), "The task was cancelled while its messages were under way")
    }

    /// Ends the wait for a send. It is withdrawn if nothing of it was sent. Otherwise it goes on, because later
    /// messages must not overtake it.
    private func stopWaiting(for id: SendID, notSent: any Error, _ reason: String) {
        guard let count = pending.awaitedCount(id) else { return }
        if pending.isUntouched(id), lane.isWaiting(id) {
            lane.withdraw(id, count: count)
            pending.fail(id, with: notSent)
            tellIfIdle()
        } else {
            pending.detach(
                id,
                with: QueueError(
                    .outcomeUnknown,
                    "\(reason), and they may be stored or not. Repeat the send to find out; it stores nothing twice.",
                    unresolvedSend: id))
        }
    }

    // MARK: Deadlines

    /// Ensures that the timer runs and fires no later than the first deadline. Firing early does no harm.
    private func watchDeadlines() {
        guard let next = pending.nextDeadline() else { return }
        if let timer, timer.end <= next { return }
        timer?.task.cancel()
        let store = queue.store
        // Weakly, so that a producer that is dropped ends at once, and its timer with it.
        let task = Task { [weak self] in
            guard (try? await store.sleep(for: max(.zero, next - store.now))) != nil else { return }
            await self?.deadlinePassed()
        }
        timer = (next, task)
    }

    private func deadlinePassed() {
        // Another timer has taken its place.
        if Task.isCancelled { return }
        timer = nil
        let notSent = notSent
        for id in pending.expired(at: queue.store.now) {
            stopWaiting(for: id, notSent: notSent, "No answer came in time for messages that were under way")
        }
        watchDeadlines()
    }

    /// The error for a send that did not begin in time. Both it and the cause that it names are certain.
    private var notSent: QueueError {
        if lane.isStuck, let fullness { return fullness }
        return QueueError(
            .unreachable, "The time was over before the send could begin, and nothing of it is stored.",
            cause: obstacle)
    }
}
