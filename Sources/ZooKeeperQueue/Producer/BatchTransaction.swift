import ZooKeeper

/// The transaction that stores a batch, and the meaning of ZooKeeper's refusal of one of its operations.
struct BatchTransaction: Sendable {
    let batch: ProducerSequence.Batch
    let groups: [ArraySlice<ProducerSequence.Entry>]
    private let epoch: SequenceEpoch
    private(set) var operations: [ZooKeeperOperation]
    /// The index of the first create of a message node.
    private let firstNode: Int
    /// The entries whose IDs are stored by the operations after those creates, one for each operation.
    private var idOwners: [ProducerSequence.Entry] = []

    /// The index of the epoch check, after the `set` of the producer's node.
    static let epochCheck = 1
    /// The most operations that an entry's ID adds.
    static let operationsOfAnID = 3
    /// The most operations that the entries may have. The `set` of the producer's node and the checks of the epoch and
    /// of the ID buckets take the other three.
    static let maximumEntryOperations = Request.maximumOperations - 3
    /// The bytes that are reserved for the multi's own header and those three operations.
    static let overhead = 512

    init(
        _ batch: ProducerSequence.Batch, sequence: String, epoch: SequenceEpoch, buckets: DeduplicationBuckets,
        packer: BatchPacker,
        in tree: QueueTree
    ) {
        self.batch = batch
        self.epoch = epoch
        groups = packer.groups(batch.entries)
        operations = [.set(tree.producer(sequence), data: [], version: batch.version), epoch.check(in: tree)]
        let hasIDs = batch.entries.contains { $0.id != nil }
        if hasIDs { operations.append(buckets.check(in: tree)) }
        firstNode = operations.count
        operations += BatchPacker.creates(groups, in: tree)
        if !hasIDs { return }
        for entry in batch.entries {
            guard let id = entry.id else { continue }
            let storing = buckets.operations(storing: id, in: tree)
            operations += storing
            idOwners += storing.map { _ in entry }
        }
    }

    /// The slots of the batch's delayed messages.
    private var slots: Set<DelaySlot> { Set(batch.entries.compactMap { $0.due.map(DelaySlot.init) }) }

    // MARK: Results

    /// Returns the names of the batch's messages.
    func names(_ results: [OperationResult]) -> [String?] {
        var names: [String?] = []
        names.reserveCapacity(batch.entries.count)
        for (group, result) in zip(groups, nodes(of: results)) {
            BatchPacker.add(group.count, node: Self.name(result), in: epoch, to: &names)
        }
        return names
    }

    /// Whether the server has assigned the last sequence number that a producer may use.
    func exhaustsSequenceNumbers(_ results: [OperationResult]) -> Bool {
        guard let last = nodes(of: results).last.flatMap(Self.name), let name = ItemName(last, inEpoch: epoch.number)
        else { return false }
        return name.sequence > SequenceEpoch.lastNumber || name.sequence < 0
    }

    /// Returns the results of the creates of the message nodes.
    private func nodes(of results: [OperationResult]) -> ArraySlice<OperationResult> {
        results.dropFirst(firstNode).prefix(groups.count)
    }

    private static func name(_ result: OperationResult) -> String? {
        guard case .created(let path) = result else { return nil }
        return NodePath.name(of: path)
    }

    /// Translates an error that concerns IDs to a ``Refusal``. Returns any other error unchanged.
    func translated(_ error: any Error) -> any Error {
        guard let cause = error as? ZooKeeperError, let index = cause.operationIndex else { return error }
        if index > Self.epochCheck, index < firstNode { return Refusal.bucketsHaveChanged(cause) }
        if cause.code == .noNode, groups.indices.contains(index - firstNode), !slots.isEmpty {
            return Refusal.slotsAreMissing(slots, cause)
        }
        let owner = index - firstNode - groups.count
        guard idOwners.indices.contains(owner) else { return error }
        switch cause.code {
        case .nodeExists: return Refusal.duplicate(idOwners[owner])
        case .noNode: return Refusal.bucketsHaveChanged(cause)
        default: return error
        }
    }

    /// Why a batch was not stored although nothing is wrong.
    enum Refusal: Error {
        /// A message with this ID was stored before.
        case duplicate(ProducerSequence.Entry)
        /// A slot of delayed messages does not exist yet, or a folder of the queue was removed.
        case slotsAreMissing(Set<DelaySlot>, ZooKeeperError)
        /// Another bucket is the current one now.
        case bucketsHaveChanged(ZooKeeperError)
    }
}
