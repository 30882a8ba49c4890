import DequeModule
import Logging
import ZooKeeper

/// The registration and the session that leases depend on, and the end of leases.
extension ConsumerStateMachine {
    mutating func registrationPending(_ name: String?) {
        if registration == nil { membership = name.map(Membership.pending) ?? .unregistered }
    }

    var pendingName: String? {
        if case .pending(let name) = membership { name } else { nil }
    }

    mutating func registered(_ registration: Registration) {
        membership = .registered(registration)
        heldLeases = HeldLeases()
        needsHeldLeases = false
        // The attributes may be outdated. Then the first value of the watch on the epoch differs.
        pause(attributes.paused.contains(.consume))
        emit(.log(.debug, "Registered a consumer", ["consumer": "\(registration.paths.path)"]))
    }

    /// Handles a change of the session.
    mutating func sessionChanged(_ session: SessionState) {
        guard let registration else { return }
        if session.sessionID != registration.sessionID || session.phase == .closed { return lose(registration) }
        switch session.phase {
        case .connected where wasSilent: break
        case .suspended: for lease in leases.values { emit(.update(lease, .suspended)) }
        case .connected:
            for lease in leases.values { emit(.update(lease, .held)) }
            wake()
        case .connecting, .disconnected, .closed: break
        }
    }

    /// Handles the end of the registration's session, which ends all its leases.
    mutating func lose(_ lost: Registration) {
        guard registration == lost else { return }
        unregister()
        // This consumer itself was seen to live under its old name.
        seenActive = [:]
        let held = leases.values
        leases = [:]
        buffer = []
        forgetList()
        for lease in held { emit(.update(lease, .lost)) }
        if !held.isEmpty { emit(.log(.info, "Lost the leases of a registration", ["count": "\(held.count)"])) }
        emit(.becameEmpty)
        wake()
        readIfNeeded()
    }

    /// Forgets a lease that has ended.
    mutating func forget(_ lease: Lease) {
        if leases[lease.name.string] === lease { leases[lease.name.string] = nil }
        if leases.isEmpty { emit(.becameEmpty) }
    }

    /// Handles the end of an attempt to requeue a buffered message. If ZooKeeper refused it, the message stays in the
    /// buffer of an open consumer, which then hands it out.
    mutating func releaseEnded(_ lease: Lease) {
        if phase == .open, leases[lease.name.string] === lease, lease.state == .held || lease.state == .suspended {
            enqueue(lease)
            emit(.oversee)
        } else {
            emit(.update(lease, .lost))
        }
    }

    /// Takes the buffered messages, which will be requeued. Forgets the messages that were read, because they come
    /// later and must not overtake the buffered ones.
    mutating func takeBuffer() -> [Lease] {
        defer {
            buffer = []
            forgetList()
        }
        return Array(buffer)
    }

    // MARK: The tree

    /// Adopts the consumer's node as it was read, after a transaction was abandoned before its outcome was certain.
    ///
    /// - Parameter isAtomic: whether the store applies all operations of a transaction or none.
    /// - Returns: the version when it is lower than before, because the servers have lost
    ///   acknowledged writes; otherwise `nil`.
    mutating func heldLeasesRead(_ node: Node, of registration: Registration, isAtomic: Bool) -> Int32? {
        guard self.registration == registration else { return nil }
        needsHeldLeases = false
        switch TransactionOutcome(found: node.stat.version, expected: heldLeases.version, isUnresolved: true) {
        case .rolledBack: return node.stat.version
        case .notApplied:
            // Without transactions, the lease may have been deleted all the same.
            if isAtomic { for settlement in abandoned { settlement.wasNotApplied() } }
        case .applied:
            for settlement in abandoned {
                settlement.lease.wasApplied(settlement.attempt, by: settlement.kind)
                emit(.update(settlement.lease, .settled))
                forget(settlement.lease)
            }
        case .changedByAnotherClient: break
        }
        abandoned = []
        heldLeases.found(node)
        return nil
    }

    mutating func skipHeldLeasesRead() { (needsHeldLeases, abandoned) = (false, []) }

    mutating func heldLeasesFound(_ node: Node, of registration: Registration) {
        if self.registration == registration { heldLeases.found(node) }
    }

    // MARK: The end of a registration

    /// The registration to remove from the tree; `nil` when the consumer is in use again, or not in the tree.
    var registrationToLeave: Registration? {
        guard phase != .open || (leases.isEmpty && !iterators.isPositive) else { return nil }
        if let registration { return registration }
        return pendingName.map { Registration(paths: queue.tree.consumer($0), sessionID: 0, name: $0) }
    }

    /// Whether the version of the consumer's node has reached its limit. A version has 32 bits, and each transaction
    /// raises it by one. At the limit nothing is claimed in advance until the consumer holds nothing.
    var mustRenew: Bool { heldLeases.version >= configuration.transactionsOfARegistration || heldLeases.version < 0 }

    /// Returns the registration to renew, once the consumer holds and settles nothing.
    mutating func registrationToRenew() -> Registration? {
        guard let registration, mustRenew, leases.isEmpty, settlements.isEmpty, !isCommitting else { return nil }
        forgetList()
        // This consumer itself was seen to live under its old name.
        seenActive = [:]
        return registration
    }

    /// Begins to leave the tree. Forgets the messages that were read, because a caller that comes back in the meantime
    /// must start the reader, which registers the consumer again.
    mutating func leaves() {
        unregister()
        heldLeases = HeldLeases()
        forgetList()
    }

    private mutating func unregister() {
        membership = .unregistered
        (isPaused, needsRenewal, wasSilent, abandoned) = (false, false, false, [])
        emit(.stopWatching)
    }
}
