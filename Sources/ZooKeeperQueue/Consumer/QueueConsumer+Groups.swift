import ZooKeeper

/// Settles the heads of message groups: the next message moves up in the same transaction.
extension QueueConsumer {
    /// Settles the head of a group. The group is read again when it has changed in the meantime.
    func settle(_ lease: Lease, of group: GroupKey, by kind: Settlement.Kind) async throws {
        // In a task that is not cancelled, like the wait for a settlement.
        try await Task {
            var (known, retries) = (lease.successor, GroupSuccession.Retries())
            while true {
                // From now on, no other call can settle the message.
                guard let attempt = try lease.beginSettling(by: kind) else { return }
                let succession = try await succession(of: group, after: lease, known)
                do {
                    return try await settle(lease, by: kind, attempt, succession)
                } catch is GroupSuccession.Outdated {
                    // A message was sent to the group, or another one was cancelled.
                    known = nil
                    retries = try await preparing(lease) { try await retries.next(in: queue.store) }
                }
            }
        }.value
    }

    /// Acknowledges the head of a group in a transaction that stores messages in the same group.
    func acknowledge(
        _ lease: Lease, of group: GroupKey, in transaction: QueueTransaction, _ prepared: inout PreparedTransaction
    ) async throws {
        guard let attempt = try lease.beginSettling(by: .acknowledge(.init(transaction, []))) else { return }
        let succession = try await succession(of: group, after: lease, nil)
        let place = succession?.place ?? (isFree: false, version: nil)
        prepared.handOver(place.isFree ? group : nil, at: place.version, of: queue.tree)
        try await settle(
            lease, by: .acknowledge(.init(transaction, prepared.operations)), attempt, place.isFree ? nil : succession)
    }

    /// Returns what follows in the group of a message. When that fails, the settlement has failed.
    ///
    /// - Parameter known: the follower, if it was read before.
    private func succession(
        of group: GroupKey, after lease: Lease, _ known: GroupSuccession.Successor?
    ) async throws -> GroupSuccession? {
        do {
            return try await preparing(lease) {
                try await QueueError.translating(while: "settling a message", queue: queue.path) {
                    try await readSuccession(of: group, after: lease, known)
                }
            }
        } catch {
            lease.settlingFailed()
            throw error
        }
    }

    private func readSuccession(
        of group: GroupKey, after lease: Lease, _ known: GroupSuccession.Successor?
    ) async throws -> GroupSuccession? {
        while true {
            do {
                var succession = try await queue.groups.succession(of: group, knowing: known, expecting: lease.next)
                succession?.use(state.attributes)
                return succession
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // Repeating it is harmless, and it waits for a connection.
            }
        }
    }
}
