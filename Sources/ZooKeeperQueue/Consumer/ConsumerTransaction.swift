import ZooKeeper

/// A consumer's transaction: the leases that it ends and the leases that it begins. A value that is independent of
/// the consumer that sends it.
///
/// Each transaction sets the consumer's node at the version that it expects. So a transaction whose reply was lost can
/// be sent again: ZooKeeper refuses that operation if the transaction was applied before.
struct ConsumerTransaction {
    let registration: Registration
    /// The epoch in which the claimed nodes were read.
    var epoch: SequenceEpoch
    /// How often a message is delivered before it moves to the dead letters.
    var maximumDeliveries: Int
    var settlements: [Settlement] = []
    var claims: [MessageNode] = []
    /// The position in the wait queue of idle consumers that the transaction gives up.
    var position: String?
    /// Whether the transaction is sent also, or only, to renew the consumer's leases. See
    /// ``ConsumerStateMachine/nextRenewal``.
    var renews = false
    /// Whether an attempt was sent without a reply, so it may have been applied.
    var isUnresolved = false
    /// When the first attempt was sent, by the store's clock.
    var sentAt: Duration?
    /// Whether the messages of a batch are requeued one by one, because another node has the batch's name.
    var releasesSingly = false

    var isEmpty: Bool { settlements.isEmpty && claims.isEmpty && !renews }

    mutating func clear() { (settlements, claims, renews) = ([], [], false) }

    /// Records a refusal which shows that no earlier attempt of this transaction was applied either.
    ///
    /// A settlement whose caller was already told that no reply arrived stays unresolved, for the case that the caller
    /// tries again, because the transaction is sent again.
    mutating func isCertainlyNotApplied() {
        isUnresolved = false
        for settlement in settlements where settlement.waiter != nil { settlement.wasNotApplied() }
    }

    /// Records that an attempt was sent without a reply.
    mutating func mayBeApplied() {
        isUnresolved = true
        for settlement in settlements { settlement.isUnresolved() }
    }

    /// Each settlement and each claim as a separate transaction.
    var parts: [ConsumerTransaction] {
        settlements.map { part(settlements: [$0]) } + claims.map { part(claims: [$0]) }
    }

    private func part(settlements: [Settlement] = [], claims: [MessageNode] = []) -> ConsumerTransaction {
        ConsumerTransaction(
            registration: registration, epoch: epoch, maximumDeliveries: maximumDeliveries, settlements: settlements,
            claims: claims)
    }

    mutating func remove(_ numbers: [Int]) {
        for number in numbers.sorted(by: >) { settlements.remove(at: number) }
    }

    /// The subject of an operation of the multi.
    enum Part {
        /// The consumer's session.
        case session
        /// The consumer's node.
        case registration
        /// The epoch of the sequence numbers.
        case epoch
        /// The node of a lease, which ends with these settlements.
        case lease([Int])
        /// The further effects of a settlement.
        case settlement(Int)
        /// A batch of which no message was handed out. These settlements requeue it as a whole.
        case wholeRelease([Int])
        case claim(Int)
        /// The position in the wait queue.
        case position
    }

    /// The multi, and what the consumer holds once the multi is applied.
    struct Plan {
        var operations: [ZooKeeperOperation] = []
        var parts: [Part] = []
        /// The index of each operation within its part.
        var operationIndices: [Int] = []
        var heldLeases: HeldLeases

        mutating func add(_ operations: [ZooKeeperOperation], _ part: Part) {
            self.operations += operations
            for index in operations.indices {
                parts.append(part)
                operationIndices.append(index)
            }
        }
    }

    func plan(_ queue: MessageQueue, _ heldLeases: HeldLeases) -> Plan {
        var ends = Plan(heldLeases: heldLeases)
        let whole = wholeReleases(heldLeases)
        var touched: Set<String> = []
        for (number, settlement) in settlements.enumerated() {
            let lease = settlement.lease
            if let index = lease.index {
                if !touched.contains(lease.node) {
                    touched.insert(lease.node)
                    // Check it even when the batch stays leased: none of its messages may be
                    // requeued once the lease is gone.
                    ends.add([.check(lease.path)], .lease(numbers(of: lease.node)))
                }
                if ends.heldLeases.settle(index, of: lease.node) {
                    let all = numbers(of: lease.node)
                    ends.add([.delete(lease.path)], .lease(all))
                    if let batch = whole[lease.node] {
                        let path = epoch.path(of: lease.nodeName, in: queue.tree)
                        ends.add([.create(path, data: batch.encoded())], .wholeRelease(all))
                    }
                }
                if whole[lease.node] != nil { continue }
            } else {
                ends.add([.delete(lease.path)], .lease([number]))
            }
            let consequences = settlement.consequences(queue, epoch, maximumDeliveries: maximumDeliveries)
            ends.add(consequences, .settlement(number))
        }
        var plan = Plan(heldLeases: ends.heldLeases)
        plan.heldLeases.version = heldLeases.version &+ 1
        plan.add([.check(registration.paths.active)], .session)
        plan.add(
            [.set(registration.paths.path, data: ends.heldLeases.progress.encoded(), version: heldLeases.version)],
            .registration)
        if usesNames { plan.add([epoch.check(in: queue.tree)], .epoch) }
        plan.operations += ends.operations
        plan.parts += ends.parts
        plan.operationIndices += ends.operationIndices
        for (number, node) in claims.enumerated() {
            plan.add(Self.moves(node, queue, registration), .claim(number))
            plan.heldLeases.add(node)
        }
        if let position, !claims.isEmpty { plan.add([.delete(queue.tree.idle(position))], .position) }
        return plan
    }

    /// Whether the transaction uses names that would mean other nodes in another epoch.
    var usesNames: Bool { !claims.isEmpty || settlements.contains { $0.mayRequeue } }

    /// Returns the indices of the settlements of a node's messages.
    private func numbers(of node: String) -> [Int] {
        settlements.indices.filter { settlements[$0].lease.node == node }
    }

    /// Returns the operations that claim a node.
    static func moves(_ node: MessageNode, _ queue: MessageQueue, _ registration: Registration) -> [ZooKeeperOperation]
    {
        [
            .delete(node.entry.path(in: queue.tree), version: node.stat.version),
            .create(registration.paths.lease(node.name.string), data: node.data),
        ]
    }

    /// Returns the batches that are requeued as a whole, because none of their messages was handed out.
    private func wholeReleases(_ heldLeases: HeldLeases) -> [String: RecordBatch] {
        if releasesSingly { return [:] }
        var released: [String: [Int: [UInt8]]] = [:]
        for settlement in settlements {
            guard case .release = settlement.kind, let index = settlement.lease.index else { continue }
            released[settlement.lease.node, default: [:]][index] = settlement.lease.data
        }
        return released.filter { $0.value.count == heldLeases.batches[$0.key] }.mapValues { records in
            RecordBatch(records: records.sorted { $0.key < $1.key }.map(\.value))
        }
    }
}

/// The contents of a consumer's node, and its leases: a value.
struct HeldLeases {
    /// The version of the consumer's node.
    var version: Int32 = 0
    /// The number of messages in each leased batch.
    private(set) var batches: [String: Int] = [:]
    private(set) var progress = BatchSettlements()

    /// Records that a message of a batch is settled.
    ///
    /// - Returns: whether it was the batch's last message.
    mutating func settle(_ index: Int, of batch: String) -> Bool {
        let settled = progress.settle(index, of: batch)
        guard settled == batches[batch] else { return false }
        progress.forget(batch)
        batches[batch] = nil
        return true
    }

    /// Adopts the consumer's node as it was read from the tree.
    mutating func found(_ node: Node) {
        version = node.stat.version
        progress = BatchSettlements(node.data)
    }

    /// Forgets a leased node that is gone.
    mutating func drop(_ node: String) {
        progress.forget(node)
        batches[node] = nil
    }

    /// Records that a node is leased.
    mutating func add(_ node: MessageNode) {
        if node.messages.first?.index != nil { batches[node.name.string] = node.messages.count }
    }
}
