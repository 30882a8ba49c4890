import ZooKeeper

/// The end of a lease that was asked for, and who waits for it.
struct Settlement {
    enum Kind: Sendable, Hashable {
        case acknowledge([Operation])
        case giveBack(reason: String?)
        case deadLetter(reason: String)
        /// Given back without having been delivered: neither its place nor its count changes.
        case release
    }

    let lease: Lease
    let kind: Kind
    /// Who asked for it, until it is told.
    var waiter: SettlementWaiter?
    /// When it was asked for, by the store's clock.
    let since: Duration
    /// What of the lease had been sent without an answer before.
    let unresolvedBefore: Set<Kind>
    /// Raised when the name under which a message is to come back is taken.
    var extraReturns = 0

    /// What happens together with the end of the lease.
    func consequences(_ queue: MessageQueue, _ epoch: SequenceEpoch, maximumDeliveries: Int) -> [Operation] {
        let tree = queue.tree
        switch kind {
        case .acknowledge(let operations): return operations
        case .release:
            let name = lease.name.with(returns: lease.name.returns + extraReturns)
            return [.create(epoch.place(of: name, in: tree), data: Envelope.restored(lease.data))]
        case .giveBack(let reason):
            let returns = lease.name.returns + 1 + extraReturns
            if returns >= maximumDeliveries {
                let cause = "delivered \(returns) times" + (reason.map { ": \($0)" } ?? "")
                return DeadLetter.operations(
                    at: tree.dead(lease.name.with(returns: returns).string), data: lease.data, cause: cause,
                    in: queue.store)
            }
            let place = epoch.place(of: lease.name.with(returns: returns), in: tree)
            return [.create(place, data: Envelope.restored(lease.data))]
        case .deadLetter(let reason):
            let name = lease.name.with(returns: lease.name.returns + extraReturns)
            return DeadLetter.operations(
                at: tree.dead(name.string), data: lease.data, cause: reason, in: queue.store)
        }
    }

    /// Whether the message may come back to the ready ones.
    var givesBack: Bool {
        switch kind {
        case .giveBack, .release: true
        case .acknowledge, .deadLetter: false
        }
    }

    /// Whether the message can come back under a name with a higher count.
    var canTakeAnotherName: Bool {
        switch kind {
        case .giveBack, .deadLetter, .release: extraReturns < 1_000
        case .acknowledge: false
        }
    }
}
