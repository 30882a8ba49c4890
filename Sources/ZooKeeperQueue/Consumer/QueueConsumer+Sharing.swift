import ZooKeeper

/// Shares the buffer with idle consumers, and lets more urgent messages go first.
extension QueueConsumer {
    /// Checks the buffer periodically, as long as messages wait in it.
    func oversee() async {
        var pause = ConsumerStateMachine.oversightPeriod
        while !Task.isCancelled, state.needsOversight {
            // The consumer polls, because a watch would cost a busy consumer an event for each message.
            guard (try? await queue.store.sleep(for: pause)) != nil else { break }
            // Listing a long queue may take a twentieth of the time.
            pause = Swift.max(ConsumerStateMachine.oversightPeriod, await checkBuffer() * 20)
        }
    }

    /// Returns the buffer during a pause and if other consumers are idle, and otherwise looks for more urgent messages.
    ///
    /// - Returns: how long it took to list the ready messages.
    private func checkBuffer() async -> Duration {
        if state.isPaused {
            await releaseBuffered()
            return .zero
        }
        guard let registration = state.registration, state.hasOldMessages(now: now) else { return .zero }
        do {
            let waitQueue = WaitQueue(queue: queue, consumer: registration.name)
            if try await waitQueue.hasOtherConsumers(), handle({ $0.otherConsumersAreIdle() }) {
                await releaseBuffered()
                return .zero
            }
            guard state.hasUrgentSlots else { return .zero }
            let start = now
            let names = try await queue.store.children(of: queue.tree.items).names
            let usable = queue.skipped.usable(names, in: queue.tree.items)
            handle { $0.listedForUrgent(usable) }
            return now - start
        } catch {
            // The next check, or the consumer's next transaction, meets the same error.
            return .zero
        }
    }
}
