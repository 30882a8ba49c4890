import Logging
import ZooKeeper

/// Renews the leases, so that no recovery takes them from a consumer whose process works.
///
/// Every transaction renews all leases, because it changes the consumer's node. A consumer that sends none for a third
/// of the lease timeout sends one that changes nothing else.
extension ConsumerStateMachine {
    /// When the leases must be renewed; `nil` when there is nothing to renew.
    var nextRenewal: Duration? {
        guard phase != .closed, registration != nil, !leases.isEmpty, let timeout = attributes.leaseTimeout else {
            return nil
        }
        return min(renewedAt, leasesListedAt) + timeout / 3
    }

    /// Requests a renewal, which goes out with the next transaction, unless one is in progress.
    mutating func renewalIsDue(now: Duration) {
        guard let nextRenewal, nextRenewal <= now || wasSilent else { return }
        noticeSilence(now: now)
        if !isRenewing { needsRenewal = true }
        commitIfNeeded(now: now)
    }

    /// Suspends the leases when the consumer was silent for two thirds of the lease timeout, because a recovery may
    /// soon take them, or has taken them. They are held again once the consumer has renewed them and has seen that they
    /// still exist.
    mutating func noticeSilence(now: Duration) {
        guard !leases.isEmpty, !wasSilent, let timeout = attributes.leaseTimeout,
            now - max(renewedAt, timeoutKnownAt) >= timeout * 2 / 3
        else { return }
        if !isRenewing { needsRenewal = true }
        wasSilent = true
        emit(.restartRenewal)
        for lease in leases.values { emit(.update(lease, .suspended)) }
        emit(
            .log(
                .warning, "A consumer was silent for most of the lease timeout",
                ["silence": "\(now - renewedAt)"]))
    }

    /// Whether the leases must be listed although none was renewed: an operator may have taken one from a consumer that
    /// sends transactions all the time.
    func mustListLeases(now: Duration) -> Bool {
        guard !leases.isEmpty, let timeout = attributes.leaseTimeout else { return false }
        return now - leasesListedAt >= timeout / 3
    }

    /// Handles the names of the leases that exist after a renewal. A lease that is missing was taken away.
    mutating func leasesListed(
        _ names: Set<String>, of registration: Registration, session: SessionState, now: Duration
    ) {
        leasesListedAt = now
        guard self.registration == registration else { return }
        wasSilent = false
        for node in Set(leases.values.map(\.node)) where !names.contains(node) { leaseIsTaken(node) }
        sessionChanged(session)
        wake()
    }

    /// Ends the leases of a node that was taken away.
    mutating func leaseIsTaken(_ node: String) {
        let taken = leases.values.filter { $0.node == node }
        buffer.removeAll { $0.node == node }
        heldLeases.drop(node)
        for lease in taken {
            emit(.update(lease, .lost))
            forget(lease)
        }
        if !taken.isEmpty { emit(.log(.info, "A lease was taken away", ["message": "\(node)"])) }
    }
}
