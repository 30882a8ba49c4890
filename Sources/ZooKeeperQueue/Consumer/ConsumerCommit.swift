import ZooKeeper

/// One atomic step of a consumer: the leases that end with it and those that begin. A value, apart from the consumer
/// that sends it.
///
/// Each step sets the consumer's node at the version that it has, so that one whose answer was lost can be sent again:
/// it is refused at that operation if it was applied before.
struct ConsumerCommit {
    let registration: Registration
    /// The epoch in which the claimed nodes were read.
    var epoch: SequenceEpoch
    /// How often a message is delivered before it goes to the dead letters.
    var maximumDeliveries: Int
    var settlements: [Settlement] = []
    var claims: [MessageNode] = []
    /// The place in the line of idle consumers that is given up with it.
    var place: String?
    /// Whether it was sent without an answer, so that it may have been applied.
    var isUnresolved = false
    /// Whether the messages of a batch go back one by one, because the batch's place is taken.
    var releasesSingly = false

    var isEmpty: Bool { settlements.isEmpty && claims.isEmpty }

    /// A part of it was refused in such a way that no earlier attempt of it can have been applied either; one that was
    /// given up in doubt before may have been. What is still to be sent, though its asker was told that no answer had
    /// come, stays unresolved for who asks again.
    mutating func isCertainlyNotApplied() {
        isUnresolved = false
        for settlement in settlements where settlement.waiter != nil {
            settlement.lease.unresolved = settlement.unresolvedBefore
        }
    }

    /// It was sent without an answer.
    mutating func mayBeApplied() {
        isUnresolved = true
        for settlement in settlements { settlement.lease.unresolved.insert(settlement.kind) }
    }

    /// Each settlement, and each claim, as a transaction of its own.
    var parts: [ConsumerCommit] {
        settlements.map { part(settlements: [$0]) } + claims.map { part(claims: [$0]) }
    }

    private func part(settlements: [Settlement] = [], claims: [MessageNode] = []) -> ConsumerCommit {
        ConsumerCommit(
            registration: registration, epoch: epoch, maximumDeliveries: maximumDeliveries, settlements: settlements,
            claims: claims)
    }

    mutating func remove(_ numbers: [Int]) {
        for number in numbers.sorted(by: >) { settlements.remove(at: number) }
    }

    /// What an operation of the multi is about.
    enum Part {
        /// The consumer's session.
        case session
        /// The consumer's node.
        case registration
        /// The epoch of the server's numbers.
        case epoch
        /// The node of a lease, which ends with these settlements.
        case lease([Int])
        /// What else a settlement does.
        case settlement(Int)
        /// A batch of which no message was handed out goes back as it is, with these settlements.
        case wholeRelease([Int])
        case claim(Int)
        /// The place in the line.
        case place
    }

    /// The multi, and what the consumer holds when it is applied.
    struct Plan {
        var operations: [Operation] = []
        var parts: [Part] = []
        /// The place of each operation within its part.
        var places: [Int] = []
        var holdings: Holdings

        mutating func add(_ operations: [Operation], _ part: Part) {
            self.operations += operations
            for index in operations.indices {
                parts.append(part)
                places.append(index)
            }
        }
    }

    func plan(_ queue: MessageQueue, _ holdings: Holdings) -> Plan {
        var ends = Plan(holdings: holdings)
        let whole = wholeReleases(holdings)
        var touched: Set<String> = []
        for (number, settlement) in settlements.enumerated() {
            let lease = settlement.lease
            if let index = lease.index {
                if !touched.contains(lease.node) {
                    touched.insert(lease.node)
                    // Also where the batch stays: nothing of it may come back when it is gone.
                    ends.add([.check(lease.path)], .lease(numbers(of: lease.node)))
                }
                if ends.holdings.settle(index, of: lease.node) {
                    let all = numbers(of: lease.node)
                    ends.add([.delete(lease.path)], .lease(all))
                    if let batch = whole[lease.node] {
                        let place = epoch.place(of: lease.nodeName, in: queue.tree)
                        ends.add([.create(place, data: batch.encoded())], .wholeRelease(all))
                    }
                }
                if whole[lease.node] != nil { continue }
            } else {
                ends.add([.delete(lease.path)], .lease([number]))
            }
            let consequences = settlement.consequences(queue, epoch, maximumDeliveries: maximumDeliveries)
            ends.add(consequences, .settlement(number))
        }
        var plan = Plan(holdings: ends.holdings)
        plan.holdings.version = holdings.version &+ 1
        plan.add([.check(registration.paths.active)], .session)
        plan.add(
            [.set(registration.paths.path, data: ends.holdings.progress.encoded(), version: holdings.version)],
            .registration)
        if usesNames { plan.add([epoch.check(in: queue.tree)], .epoch) }
        plan.operations += ends.operations
        plan.parts += ends.parts
        plan.places += ends.places
        for (number, node) in claims.enumerated() {
            plan.add(Self.moves(node, queue, registration), .claim(number))
            plan.holdings.add(node)
        }
        if let place, !claims.isEmpty { plan.add([.delete(queue.tree.idle(place))], .place) }
        return plan
    }

    /// Whether it names nodes that would be other ones in another epoch.
    var usesNames: Bool { !claims.isEmpty || settlements.contains { $0.givesBack } }

    /// The settlements of the messages of a node.
    private func numbers(of node: String) -> [Int] {
        settlements.indices.filter { settlements[$0].lease.node == node }
    }

    /// What claims a node.
    static func moves(_ node: MessageNode, _ queue: MessageQueue, _ registration: Registration) -> [Operation] {
        [
            .delete(node.entry.path(in: queue.tree), version: node.stat.version),
            .create(registration.paths.lease(node.name.string), data: node.data),
        ]
    }

    /// Batches that nobody has seen anything of, and that are given back as they are.
    private func wholeReleases(_ holdings: Holdings) -> [String: RecordBatch] {
        if releasesSingly { return [:] }
        var released: [String: [Int: [UInt8]]] = [:]
        for settlement in settlements {
            guard case .release = settlement.kind, let index = settlement.lease.index else { continue }
            released[settlement.lease.node, default: [:]][index] = settlement.lease.data
        }
        return released.filter { $0.value.count == holdings.batches[$0.key] }.mapValues { records in
            RecordBatch(records: records.sorted { $0.key < $1.key }.map(\.value))
        }
    }
}

/// What stands in the tree below and in a consumer's node: a value.
struct Holdings {
    /// The version of the consumer's node.
    var version: Int32 = 0
    /// How many messages each leased batch had.
    private(set) var batches: [String: Int] = [:]
    private(set) var progress = LeaseProgress()

    /// A message of a batch is settled.
    ///
    /// - Returns: whether it was the last one.
    mutating func settle(_ index: Int, of batch: String) -> Bool {
        let settled = progress.settle(index, of: batch)
        guard settled == batches[batch] else { return false }
        progress.forget(batch)
        batches[batch] = nil
        return true
    }

    /// The consumer's node as it was found: what stands there is what holds.
    mutating func found(_ node: Node) {
        version = node.stat.version
        progress = LeaseProgress(node.data)
    }

    /// A node is leased.
    mutating func add(_ node: MessageNode) {
        if node.messages.first?.index != nil { batches[node.name.string] = node.messages.count }
    }
}
