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
    let waiter: CheckedContinuation<Void, any Error>
    /// Raised when the name under which a message is to come back is taken.
    var extraReturns = 0

    /// What becomes of the lease in one atomic step; the first operation is the one that fails when it is lost.
    func operations(_ queue: MessageQueue) -> [Operation] {
        let tree = queue.tree
        let end = Operation.delete(lease.path)
        switch kind {
        case .acknowledge(let operations): return [end] + operations
        case .release: return [end, .create(tree.item(lease.name.string), data: Envelope.restored(lease.data))]
        case .giveBack(let reason):
            let returns = lease.name.returns + 1 + extraReturns
            if returns >= queue.settings.maximumDeliveries {
                let cause = "delivered \(returns) times" + (reason.map { ": \($0)" } ?? "")
                return [end]
                    + DeadLetter.operations(
                        tree, name: lease.name.with(returns: returns), data: lease.data, cause: cause)
            }
            return [end, .create(tree.item(lease.name.with(returns: returns)), data: Envelope.restored(lease.data))]
        case .deadLetter(let reason):
            let name = lease.name.with(returns: lease.name.returns + extraReturns)
            return [end] + DeadLetter.operations(tree, name: name, data: lease.data, cause: reason)
        }
    }
}
