import ZooKeeper

/// How a consumer gives messages back that no handler has, and leaves the tree when it is not in use.
extension QueueConsumer {
    /// Gives back what waits in the buffer, in its old places.
    func releaseBuffered() async {
        await release(handle { $0.takeBuffer() })
        handle { $0.forgetList() }
    }

    /// Gives leases back uncounted, together and in order, so that the next consumer finds them in order.
    func release(_ leases: [Lease]) async {
        await withTaskGroup(of: Void.self) { group in
            handle { $0.gatheringBegins() }
            for lease in leases.sorted(by: { $0.name < $1.name }) {
                group.addImmediateTask {
                    await self.insist(on: .release, for: lease)
                    self.releaseEnded(lease)
                }
            }
            handle { $0.gatheringEnds(now: now) }
        }
    }

    private func releaseEnded(_ lease: Lease) { handle { $0.releaseEnded(lease) } }

    /// Settles what no handler will settle: tries again until `close()` has no time left.
    func insist(on kind: Settlement.Kind, for lease: Lease) async {
        while true {
            do {
                return try await settle(lease, by: kind)
            } catch let error as QueueError where error.cause?.isPassing == true && state.phase != .closed {
                await error.cause?.pauseIfRefusedAtOnce(queue.store)
            } catch {
                // Settled or lost; or the session's end will give it to a recovery.
                return
            }
        }
    }

    /// The last iterator is gone, so that no caller will fetch what is buffered.
    func iteratorEnded() async {
        guard await hasRested(), state.phase == .open, !iterators.isPositive else { return }
        await stopTaking()
        guard state.phase == .open, !iterators.isPositive else { return handle { $0.readIfNeeded() } }
        await releaseBuffered()
        await deregisterIfUnused()
    }

    /// Without iterators and leases there is no need to stand in the tree.
    func deregisterIfUnused() async {
        guard state.isUnused, await hasRested(), state.isUnused else { return }
        await deregister()
    }

    /// How long a consumer that takes on demand keeps what it has read after the last request.
    private static let rest = Duration.seconds(1)

    /// Waits for the next request of a consumer that takes on demand. It comes soon, as a rule, and gets what was
    /// listed and
    /// read for the last one.
    ///
    /// - Returns: whether no request came.
    private func hasRested() async -> Bool {
        guard configuration.takesOnDemand else { return true }
        let requestsBefore = state.requests
        try? await queue.store.sleep(for: Self.rest)
        return state.requests == requestsBefore
    }
}
