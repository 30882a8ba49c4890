import CoreMetrics
import ZooKeeper

/// Requeues messages that no handler has, and removes an unused consumer from the tree.
extension QueueConsumer {
    /// Returns the buffered messages to their old positions.
    func releaseBuffered() async {
        await release(handle { $0.takeBuffer() })
        handle { $0.forgetList() }
    }

    /// Requeues leased messages without counting the delivery. Requeues them together and in order, because the next
    /// consumer must find them in order.
    func release(_ leases: [Lease]) async {
        await withTaskGroup(of: Void.self) { group in
            handle { $0.batchingBegins() }
            for lease in leases.sorted(by: { $0.name < $1.name }) {
                group.addImmediateTask {
                    await self.settleWithRetry(on: .release, for: lease)
                    self.releaseEnded(lease)
                }
            }
            handle { $0.batchingEnds(now: now) }
        }
    }

    private func releaseEnded(_ lease: Lease) { handle { $0.releaseEnded(lease) } }

    /// Settles a message that no handler will settle. Repeats the settlement after retryable errors, until
    /// `close()` has no time left.
    func settleWithRetry(on kind: Settlement.Kind, for lease: Lease) async {
        while true {
            do {
                return try await settle(lease, by: kind)
            } catch let error as QueueError where error.cause?.isRetryable == true && state.phase != .closed {
                await error.cause?.pauseIfRefusedAtOnce(queue.store)
            } catch {
                // The message is settled or its lease lost, or a recovery requeues it after the session's end.
                return
            }
        }
    }

    /// Settles an expired message. When ZooKeeper refuses that, returns the message and skips it for a while, because
    /// it would occupy one of the leases that the consumer may hold.
    func expire(_ lease: Lease) async {
        let kind: Settlement.Kind =
            state.attributes.whenExpired == .delete ? .acknowledge() : .deadLetter(reason: "expired")
        lease.isExpiring = true
        await settleWithRetry(on: kind, for: lease)
        if lease.state == .settled { queue.metrics.expired.increment() }
        guard lease.state == .held || lease.state == .suspended else { return }
        await settleWithRetry(on: .release, for: lease)
        queue.skipped.skip(
            state.epoch.path(of: lease.name, in: queue.tree),
            .refused("it has expired, and cannot be moved to the dead letters or deleted"))
    }

    /// Returns the buffered messages after the last iterator is gone, because no caller will ask for them.
    func iteratorEnded() async {
        guard await staysIdle(), state.phase == .open, !iterators.isPositive else { return }
        await stopClaiming()
        guard state.phase == .open, !iterators.isPositive else { return handle { $0.readIfNeeded() } }
        await releaseBuffered()
        await deregisterIfUnused()
    }

    /// Removes the consumer from the tree when it has neither iterators nor leases.
    func deregisterIfUnused() async {
        guard state.isUnused, await staysIdle(), state.isUnused else { return }
        await deregister()
    }

    /// How long a consumer that pulls on demand keeps the messages that it has read, after the last request.
    private static let idleRetention = Duration.seconds(1)

    /// Waits for the next request of a consumer that pulls on demand. The next request usually comes soon, and uses
    /// what was listed and read for the last one.
    ///
    /// - Returns: whether no request came.
    private func staysIdle() async -> Bool {
        guard configuration.pullsOnDemand else { return true }
        let requestsBefore = state.requests
        try? await queue.store.sleep(for: Self.idleRetention)
        return state.requests == requestsBefore
    }
}
