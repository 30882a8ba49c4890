import ZooKeeper

/// The messages that a transaction stores in one queue, with what their operations depend on: a value that is read
/// from the queue, and read again after a refusal.
struct PreparedSends: Sendable {
    let queue: MessageQueue
    /// The messages to store. The index of an entry is its index in the transaction.
    private var entries: [ProducerSequence.Entry]
    /// The indices of the messages that are not stored, because their IDs were stored before.
    private(set) var duplicates: Set<Int> = []
    private var epoch = SequenceEpoch()
    private var buckets = DeduplicationBuckets()
    private var packer: BatchPacker
    private var groupStates: [GroupKey: GroupState] = [:]
    private var handedOver: [GroupKey: GroupState] = [:]
    private let ignoresCapacity: Bool

    init(_ messages: [(index: Int, message: OutgoingMessage)], to queue: MessageQueue, ignoresCapacity: Bool) throws {
        self.queue = queue
        self.ignoresCapacity = ignoresCapacity
        packer = BatchPacker(maximumBytes: queue.store.maximumRequestSize / 2)
        let encoder = MessageEncoder(queue)
        entries = try messages.map { index, message in
            // No caller waits for a single message.
            ProducerSequence.Entry(
                send: UnresolvedSend(number: 0), index: index, try encoder.encode(message))
        }
    }

    var indices: [Int] { entries.map(\.index) }
    var needsClock: Bool { entries.contains { $0.delivery != .now || $0.expiry != nil } }

    /// The part of the transaction; `nil` when there is no message to store.
    var creation: MessageCreation? {
        if entries.isEmpty { return nil }
        var creation = MessageCreation(entries, epoch: epoch, buckets: buckets, packer: packer, in: queue.tree)
        creation.use(groupStates.merging(handedOver) { $1 })
        return creation
    }

    /// Whether one of the messages belongs to this group.
    func contains(_ group: GroupKey) -> Bool { entries.contains { $0.group == group } }

    /// Lets the first message of the group take the place of the head, which the same transaction removes; `nil` for no
    /// group.
    ///
    /// - Parameter version: the version of the group's node, if the node has unusable children.
    mutating func handOver(_ group: GroupKey?, at version: Int32?) {
        handedOver = group.map { [$0: version.map(GroupState.handedOverAt(version:)) ?? .handedOver] } ?? [:]
    }

    // MARK: Reading

    /// Reads what the operations depend on.
    ///
    /// - Throws: ``QueueError/Code/paused``, ``QueueError/Code/queueFull``, ``QueueError/Code/invalidArgument`` for a
    ///   message that would expire before it is delivered; `ZooKeeperError`.
    mutating func prepare(_ clock: EnsembleClock) async throws {
        let attributes = try await readEpoch()
        if !attributes.capacity.isNone, !ignoresCapacity {
            let fill = try await queue.usage.fill(countingBytes: attributes.capacity.bytes != nil)
            if attributes.capacity.isReached(by: fill) {
                throw attributes.capacity.fullError(messages: fill.nodes, bytes: fill.bytes, queue: queue.path)
            }
        }
        try await queue.requireNumbers(for: entries.count)
        try await readBuckets()
        try await readGroups()
        let now = queue.store.now
        for index in entries.indices {
            entries[index].setTimes(by: clock, now: now)
            if entries[index].expiresBeforeDelivery(by: clock, now: now) { throw MessageEncoder.expiresTooEarly }
        }
    }

    /// Reads the epoch and the attributes. Waits for the end of a rollover first, but for a second at most, because
    /// the recovery that began the rollover may have failed.
    @discardableResult
    private mutating func readEpoch() async throws -> QueueAttributes {
        epoch = try await queue.reader.sequenceEpoch()
        if epoch.phase == .closing {
            epoch = try await queue.reader.sequenceEpoch(after: epoch, within: .seconds(1))
        }
        let attributes = try await queue.attributeStore.read()
        if attributes.paused.contains(.send) { throw QueueError.sendingIsPaused(queue.path) }
        packer.use(attributes)
        return attributes
    }

    private mutating func readBuckets() async throws {
        if entries.contains(where: { $0.id != nil }) { buckets = try await queue.folders.deduplicationBuckets() }
    }

    private mutating func readGroups() async throws {
        groupStates = try await queue.groups.states(of: Set(entries.compactMap(\.group)))
    }

    private mutating func removeDuplicates(besides duplicate: ProducerSequence.Entry) async throws {
        var found: Set = [duplicate.index]
        let withIDs = entries.filter { $0.id != nil }
        for number in buckets.numbers {
            let readings = try await queue.reader.read(withIDs.map { queue.tree.id($0.id ?? "", inBucket: number) })
            // An ID that the client may not read exists all the same.
            for (entry, reading) in zip(withIDs, readings) where !reading.isMissing { found.insert(entry.index) }
        }
        entries.removeAll { found.contains($0.index) }
        duplicates.formUnion(found)
    }

    // MARK: Refusals

    /// Handles the refusal of an operation, after which another attempt can succeed.
    ///
    /// - Throws: the error if another attempt would fail too.
    mutating func refused(at index: Int, _ cause: ZooKeeperError) async throws {
        switch creation?.refusal(at: index, cause) {
        case .duplicate(let entry):
            // When one ID is a duplicate, most of the others usually are too.
            try await removeDuplicates(besides: entry)
        case .slotsAreMissing(let slots, _):
            try await queue.prepare()
            try await queue.folders.createSlots(slots)
        case .bucketsHaveChanged: try await readBuckets()
        case .groupsHaveChanged: try await readGroups()
        case .groupIsUnusable(_, let cause): throw cause
        case nil where index == MessageCreation.epochCheck && cause.code == .badVersion: try await readEpoch()
        case nil where cause.code == .noNode:
            try await queue.prepare()
            try await readEpoch()
            try await readBuckets()
        case nil where cause.code == .nodeExists:
            // The sequence numbers of this epoch are exhausted, or another client has created a node with the next one.
            _ = try await queue.reader.sequenceEpoch(after: epoch, within: .seconds(1))
            try await readEpoch()
        case nil: throw cause
        }
    }
}

extension MessageQueue {
    /// Throws when the server has too few sequence numbers left for this many messages. A producer stops before them
    /// too.
    func requireNumbers(for count: Int) async throws {
        let used = try await store.exists(tree.items)?.childrenCreated ?? 0
        guard used + count <= Int(SequenceEpoch.lastNumber) else { throw QueueError.numbersAreExhausted }
    }
}
