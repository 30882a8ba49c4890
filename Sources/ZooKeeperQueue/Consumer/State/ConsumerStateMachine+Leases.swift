import DequeModule
import Logging
import ZooKeeper

/// The registration that leases depend on, its session, and their end.
extension ConsumerStateMachine {
    mutating func registrationPending(_ name: String?) {
        if registration == nil { membership = name.map(Membership.pending) ?? .unregistered }
    }

    var pendingName: String? {
        if case .pending(let name) = membership { name } else { nil }
    }

    mutating func registered(_ registration: Registration) {
        membership = .registered(registration)
        holdings = Holdings()
        needsHoldings = false
        emit(.log(.debug, "Registered a consumer", ["consumer": "\(registration.paths.path)"]))
    }

    /// The session has changed.
    mutating func sessionChanged(_ session: SessionState) {
        guard let registration else { return }
        if session.sessionID != registration.sessionID || session.phase == .closed { return lose(registration) }
        switch session.phase {
        case .inDoubt: for lease in leases.values { emit(.update(lease, .inDoubt)) }
        case .connected:
            for lease in leases.values { emit(.update(lease, .held)) }
            wake()
        case .connecting, .suspended, .closed: break
        }
    }

    /// The registration's session has ended: its messages go, or have gone, to other consumers.
    mutating func lose(_ lost: Registration) {
        guard registration == lost else { return }
        membership = .unregistered
        emit(.stopWatchingSession)
        // This consumer itself was seen under the name that is now a dead one's.
        seenActive = [:]
        let held = leases.values
        leases = [:]
        buffer = []
        forgetList()
        for lease in held { emit(.update(lease, .lost)) }
        if !held.isEmpty { emit(.log(.info, "Leases are lost with their session", ["count": "\(held.count)"])) }
        emit(.becameEmpty)
        wake()
        readIfNeeded()
    }

    /// A lease has ended.
    mutating func forget(_ lease: Lease) {
        if leases[lease.name.string] === lease { leases[lease.name.string] = nil }
        if leases.isEmpty { emit(.becameEmpty) }
    }

    /// A lease that ZooKeeper refuses to release stays in the buffer while the consumer is open, so that it is handed
    /// out here.
    mutating func releaseEnded(_ lease: Lease) {
        if phase == .open, leases[lease.name.string] === lease, lease.state == .held || lease.state == .inDoubt {
            enqueue(lease)
            emit(.oversee)
        } else {
            emit(.update(lease, .lost))
        }
    }

    /// Takes what waits in the buffer, to be given back. What was read comes after it, and must not overtake it.
    mutating func takeBuffer() -> [Lease] {
        defer {
            buffer = []
            forgetList()
        }
        return Array(buffer)
    }

    // MARK: What stands in the tree

    /// The consumer's node was read, after a transaction was given up before it was certain.
    ///
    /// - Returns: the version, where it is lower than it was: servers have lost acknowledged writes.
    mutating func holdingsRead(_ node: Node, of registration: Registration) -> Int32? {
        guard self.registration == registration else { return nil }
        needsHoldings = false
        let outcome = StepOutcome(found: node.stat.version, expected: holdings.version, isUnresolved: true)
        if outcome == .rolledBack { return node.stat.version }
        holdings.found(node)
        return nil
    }

    mutating func skipHoldingsRead() { needsHoldings = false }

    mutating func holdingsFound(_ node: Node, of registration: Registration) {
        if self.registration == registration { holdings.found(node) }
    }

    // MARK: The end of a registration

    /// The registration that has to leave the tree; `nil` when the consumer is in use again, or not in the tree.
    var registrationToLeave: Registration? {
        guard phase != .open || (leases.isEmpty && !iterators.isPositive) else { return nil }
        if let registration { return registration }
        return pendingName.map { Registration(paths: queue.tree.consumer($0), sessionID: 0, name: $0) }
    }

    /// Whether the consumer's node is near the end of its versions, which are 32 bits wide, and each transaction
    /// takes one.
    /// Then nothing is claimed in advance, until nothing is held.
    var mustRenew: Bool { holdings.version >= configuration.stepsOfARegistration || holdings.version < 0 }

    /// The registration that is to be renewed, when it has nothing to do.
    mutating func registrationToRenew() -> Registration? {
        guard let registration, mustRenew, leases.isEmpty, settlements.isEmpty, !isCommitting else { return nil }
        forgetList()
        // This consumer itself was seen under the old name.
        seenActive = [:]
        return registration
    }

    /// The consumer begins to leave the tree. A caller that comes back meanwhile finds nothing that is read, so that
    /// the
    /// reader begins, which registers.
    mutating func leaves() {
        membership = .unregistered
        holdings = Holdings()
        forgetList()
        emit(.stopWatchingSession)
    }
}
