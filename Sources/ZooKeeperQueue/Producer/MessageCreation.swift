import ZooKeeper

/// The part of a transaction that stores messages in one queue, and the meaning of ZooKeeper's refusal of one of its
/// operations.
struct MessageCreation: Sendable {
    let groups: [ArraySlice<ProducerSequence.Entry>]
    private let epoch: SequenceEpoch
    private(set) var operations: [ZooKeeperOperation]
    /// The index of the first create of a message node.
    private let firstNode: Int
    /// The entries whose IDs are stored by the operations after those creates, one for each operation.
    private var idOwners: [ProducerSequence.Entry] = []

    /// The index of the epoch check.
    static let epochCheck = 0
    /// The most operations that an entry's ID adds.
    static let operationsOfAnID = 3

    init(
        _ entries: [ProducerSequence.Entry], epoch: SequenceEpoch, buckets: DeduplicationBuckets, packer: BatchPacker,
        in tree: QueueTree
    ) {
        self.epoch = epoch
        groups = packer.groups(entries)
        operations = [epoch.check(in: tree)]
        let hasIDs = entries.contains { $0.id != nil }
        if hasIDs { operations.append(buckets.check(in: tree)) }
        firstNode = operations.count
        operations += BatchPacker.creates(groups, in: tree)
        if !hasIDs { return }
        for entry in entries {
            guard let id = entry.id else { continue }
            let storing = buckets.operations(storing: id, in: tree)
            operations += storing
            idOwners += storing.map { _ in entry }
        }
    }

    /// The slots of the delayed messages.
    private var slots: Set<DelaySlot> { Set(groups.compactMap { $0.first?.due.map(DelaySlot.init) }) }

    // MARK: Results

    /// Returns the names of the messages.
    func names(_ results: ArraySlice<OperationResult>) -> [String?] {
        var names: [String?] = []
        for (group, result) in zip(groups, nodes(of: results)) {
            BatchPacker.add(group.count, node: Self.name(result), in: epoch, to: &names)
        }
        return names
    }

    /// Whether the server has assigned the last sequence number that a producer may use.
    func exhaustsSequenceNumbers(_ results: ArraySlice<OperationResult>) -> Bool {
        guard let last = nodes(of: results).last.flatMap(Self.name), let name = ItemName(last, inEpoch: epoch.number)
        else { return false }
        return name.sequence > SequenceEpoch.lastNumber || name.sequence < 0
    }

    /// Returns the results of the creates of the message nodes.
    private func nodes(of results: ArraySlice<OperationResult>) -> ArraySlice<OperationResult> {
        results.dropFirst(firstNode).prefix(groups.count)
    }

    private static func name(_ result: OperationResult) -> String? {
        guard case .created(let path) = result else { return nil }
        return NodePath.name(of: path)
    }

    /// Why messages were not stored although nothing is wrong.
    enum Refusal: Error {
        /// A message with this ID was stored before.
        case duplicate(ProducerSequence.Entry)
        /// A slot of delayed messages does not exist yet, or a folder of the queue was removed.
        case slotsAreMissing(Set<DelaySlot>, ZooKeeperError)
        /// Another bucket is the current one now.
        case bucketsHaveChanged(ZooKeeperError)
    }

    /// Returns the meaning of a refused operation; `nil` when the error says it all.
    func refusal(at index: Int, _ cause: ZooKeeperError) -> Refusal? {
        if index > Self.epochCheck, index < firstNode { return .bucketsHaveChanged(cause) }
        if cause.code == .noNode, groups.indices.contains(index - firstNode), !slots.isEmpty {
            return .slotsAreMissing(slots, cause)
        }
        let owner = index - firstNode - groups.count
        guard idOwners.indices.contains(owner) else { return nil }
        switch cause.code {
        case .nodeExists: return .duplicate(idOwners[owner])
        case .noNode: return .bucketsHaveChanged(cause)
        default: return nil
        }
    }
}
