import ZooKeeper

/// A requested end of a lease, and the caller that waits for it.
struct Settlement {
    enum Kind: Sendable, Hashable {
        case acknowledge(Acknowledgement = .init())
        case requeue(reason: String?, delay: Duration = .zero)
        case deadLetter(reason: String)
        /// Requeued without a delivery: neither its position nor its delivery count changes.
        case release
    }

    let lease: Lease
    let kind: Kind
    /// The number of the attempt to settle the lease.
    let attempt: Int
    /// The caller that waits; `nil` once it was told the result.
    var waiter: SettlementWaiter?
    /// When the settlement was requested, by the store's clock.
    let since: Duration
    /// The failure of the delivery, which is kept with the message.
    var failure: DeliveryFailure?
    /// When the message is due, on the ensemble's clock; `nil` when it is requeued at once.
    var due: EnsembleTime?
    /// What happens to the message's group, if the settlement removes the message from the queue.
    var succession: GroupSuccession?
    /// Raised when another node has the name that the message would get.
    var extraRedeliveries = 0

    /// Returns the operations that accompany the end of the lease.
    func consequences(_ queue: MessageQueue, _ epoch: SequenceEpoch, maximumDeliveries: Int) -> [ZooKeeperOperation] {
        ownOperations(queue, epoch, maximumDeliveries: maximumDeliveries)
            + groupOperations(maximumDeliveries: maximumDeliveries)
    }

    /// Returns the operations that let the message's group go on without it, or stop.
    private func groupOperations(maximumDeliveries: Int) -> [ZooKeeperOperation] {
        guard let succession else { return [] }
        if case .acknowledge = kind { return succession.operations }
        if leavesGroup(maximumDeliveries) { return succession.operations }
        return deadName(maximumDeliveries).map(succession.operations(deadLettering:)) ?? []
    }

    /// Whether the message waits for a retry outside its group.
    private func leavesGroup(_ maximumDeliveries: Int) -> Bool {
        guard case .requeue = kind, due != nil, !isLastDelivery(maximumDeliveries) else { return false }
        return succession?.goesOnDuringRetries ?? false
    }

    /// The name of the dead letter that the message becomes; `nil` when it does not become one.
    private func deadName(_ maximumDeliveries: Int) -> String? {
        switch kind {
        case .acknowledge, .release: nil
        case .requeue where isLastDelivery(maximumDeliveries): lease.name.with(redeliveries: redeliveries).string
        case .requeue: nil
        case .deadLetter: lease.name.with(redeliveries: lease.name.redeliveries + extraRedeliveries).string
        }
    }

    /// How the settlement ends the lease, for the metrics; `nil` for a message that was not delivered.
    func end(maximumDeliveries: Int) -> ConsumerStateMachine.LeaseEnd? {
        if lease.isExpiring { return nil }
        return switch kind {
        case .acknowledge: .acknowledged
        case .release: nil
        case .requeue(let reason, _):
            isLastDelivery(maximumDeliveries)
                ? .deadLettered(isFailure: reason != nil) : .requeued(isFailure: reason != nil)
        case .deadLetter: .deadLettered(isFailure: false)
        }
    }

    /// Whether a refused operation, by its index among the consequences, concerns the message's group.
    func concernsGroup(_ operation: Int, _ queue: MessageQueue, _ epoch: SequenceEpoch, maximumDeliveries: Int) -> Bool
    {
        operation >= ownOperations(queue, epoch, maximumDeliveries: maximumDeliveries).count
    }

    private func ownOperations(
        _ queue: MessageQueue, _ epoch: SequenceEpoch, maximumDeliveries: Int
    ) -> [ZooKeeperOperation] {
        let tree = queue.tree
        switch kind {
        case .acknowledge(let acknowledgement): return acknowledgement.operations
        case .release:
            let name = lease.name.with(redeliveries: lease.name.redeliveries + extraRedeliveries)
            return [.create(epoch.path(of: name, in: tree), data: Envelope.restored(lease.data))]
        case .requeue(let reason, _):
            if let deadName = deadName(maximumDeliveries) {
                let cause = "delivered \(redeliveries) times" + (reason.map { ": \($0)" } ?? "")
                return DeadLetter.operations(
                    at: tree.dead(deadName), data: data(in: queue, maximumDeliveries), cause: cause, in: queue.store)
            }
            let name = lease.name.with(redeliveries: redeliveries)
            let path = due.map { tree.delayed(name.string, due: $0) } ?? epoch.path(of: name, in: tree)
            return [.create(path, data: Envelope.restored(data(in: queue, maximumDeliveries)))]
        case .deadLetter(let reason):
            let name = deadName(maximumDeliveries) ?? lease.name.string
            return DeadLetter.operations(at: tree.dead(name), data: lease.data, cause: reason, in: queue.store)
        }
    }

    /// The delivery count that a requeued message has in its name.
    private var redeliveries: Int { lease.name.redeliveries + 1 + extraRedeliveries }

    private func isLastDelivery(_ maximumDeliveries: Int) -> Bool { redeliveries >= maximumDeliveries }

    /// The slot of delayed messages that receives the message; `nil` when the message does not become a delayed one.
    func slot(maximumDeliveries: Int) -> DelaySlot? {
        isLastDelivery(maximumDeliveries) ? nil : due.map { DelaySlot($0) }
    }

    /// Returns the data of the message, with the failure of this delivery if it fits.
    private func data(in queue: MessageQueue, _ maximumDeliveries: Int) -> [UInt8] {
        let leaves = leavesGroup(maximumDeliveries)
        let (envelope, data) =
            leaves ? (lease.envelope.outsideGroup, lease.envelope.outsideGroup.encoded()) : (lease.envelope, lease.data)
        guard let failure else { return data }
        // The remainder is always enough for the other operations of the transaction.
        let limit = queue.store.maximumRequestSize - 4_096 - (succession?.bytes ?? 0)
        return envelope.encoded(adding: failure, limit: limit) ?? data
    }

    /// Records that the settlement was sent without a reply.
    func isUnresolved() { lease.isUnresolved(attempt, by: kind) }

    /// Records that the settlement was certainly not applied.
    func wasNotApplied() { lease.wasNotApplied(attempt) }

    /// Whether a message may return to the ready messages, or become ready.
    var mayRequeue: Bool {
        switch kind {
        case .requeue, .release: true
        // The next message of the group may become ready.
        case .acknowledge, .deadLetter: succession?.createsItem ?? false
        }
    }

    /// Whether the message can get a name with a higher count.
    var canTakeAnotherName: Bool {
        switch kind {
        case .requeue, .deadLetter, .release: extraRedeliveries < 1_000
        case .acknowledge: false
        }
    }
}
