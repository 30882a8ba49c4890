import ZooKeeper

/// The part of a transaction that stores messages in one queue, and the meaning of ZooKeeper's refusal of one of its
/// operations.
struct MessageCreation: Sendable {
    /// The messages of each node.
    private(set) var nodes: [ArraySlice<ProducerSequence.Entry>] = []
    private let entries: [ProducerSequence.Entry]
    private let epoch: SequenceEpoch
    private let buckets: DeduplicationBuckets
    private let packer: BatchPacker
    private let tree: QueueTree
    private(set) var operations: [ZooKeeperOperation] = []
    /// The message groups that the operations before the creates of the message nodes concern.
    private var guardedGroups: [GroupKey] = []
    /// The index of the first create of a message node.
    private var firstNode = 0
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
        (self.entries, self.epoch, self.buckets, self.packer, self.tree) = (entries, epoch, buckets, packer, tree)
        groups = Set(entries.compactMap(\.group))
        use([:])
    }

    /// The message groups of the messages.
    let groups: Set<GroupKey>

    /// Makes the operations that fit these states of the message groups.
    mutating func use(_ states: [GroupKey: GroupState]) {
        var (entries, guards) = (entries, [ZooKeeperOperation]())
        (guardedGroups, idOwners) = ([], [])
        var seen: Set<GroupKey> = []
        for index in entries.indices {
            guard let key = entries[index].group else { continue }
            let state = states[key] ?? .missing
            entries[index].waitsInGroup = state.hasHead || seen.contains(key)
            guard seen.insert(key).inserted else { continue }
            let operations = state.guarding(tree.group(key))
            guards += operations
            guardedGroups += operations.map { _ in key }
        }
        nodes = packer.nodes(entries)
        operations = [epoch.check(in: tree)]
        let hasIDs = entries.contains { $0.id != nil }
        if hasIDs { operations.append(buckets.check(in: tree)) }
        operations += guards
        firstNode = operations.count
        operations += BatchPacker.creates(nodes, in: tree)
        if !hasIDs { return }
        for entry in entries {
            guard let id = entry.id else { continue }
            let storing = buckets.operations(storing: id, in: tree)
            operations += storing
            idOwners += storing.map { _ in entry }
        }
    }

    /// The slots of the delayed messages.
    private var slots: Set<DelaySlot> { Set(nodes.compactMap { $0.first?.due.map(DelaySlot.init) }) }

    // MARK: Results

    /// Returns the names of the messages.
    func names(_ results: ArraySlice<OperationResult>) -> [String?] {
        var names: [String?] = []
        for (node, result) in zip(nodes, creates(of: results)) {
            if let group = node.first?.group, node.first?.waitsInGroup == true {
                names.append(Self.name(result).map { "\(group.nodeName)/\($0)" })
            } else {
                BatchPacker.add(node.count, node: Self.name(result), in: epoch, to: &names)
            }
        }
        return names
    }

    /// Whether the server has assigned the last sequence number that a producer may use.
    func exhaustsSequenceNumbers(_ results: ArraySlice<OperationResult>) -> Bool {
        let inItems = zip(nodes, creates(of: results)).filter { node, _ in
            node.first.map { !$0.waitsInGroup && $0.due == nil } ?? false
        }
        guard let last = inItems.last.flatMap({ Self.name($0.1) }), let name = ItemName(last, inEpoch: epoch.number)
        else { return false }
        return name.sequence > SequenceEpoch.lastNumber || name.sequence < 0
    }

    /// Returns the results of the creates of the message nodes.
    private func creates(of results: ArraySlice<OperationResult>) -> ArraySlice<OperationResult> {
        results.dropFirst(firstNode).prefix(nodes.count)
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
        /// A message group has got its first message, or has ended.
        case groupsHaveChanged(messages: Int)
        /// ZooKeeper refuses messages of this group.
        case groupIsUnusable(GroupKey, ZooKeeperError)
    }

    /// Returns the meaning of a refused operation; `nil` when the error says it all.
    func refusal(at index: Int, _ cause: ZooKeeperError) -> Refusal? {
        let firstGroup = firstNode - guardedGroups.count
        if index > Self.epochCheck, index < firstGroup { return .bucketsHaveChanged(cause) }
        if index >= firstGroup, index < firstNode {
            return refusal(of: guardedGroups[index - firstGroup], cause)
        }
        if nodes.indices.contains(index - firstNode) {
            if let first = nodes[index - firstNode].first, let group = first.group, first.waitsInGroup {
                return refusal(of: group, cause)
            }
            if cause.code == .noNode, !slots.isEmpty { return .slotsAreMissing(slots, cause) }
        }
        let owner = index - firstNode - nodes.count
        guard idOwners.indices.contains(owner) else { return nil }
        switch cause.code {
        case .nodeExists: return .duplicate(idOwners[owner])
        case .noNode: return .bucketsHaveChanged(cause)
        default: return nil
        }
    }

    private func refusal(of group: GroupKey, _ cause: ZooKeeperError) -> Refusal? {
        switch cause.code {
        case .noNode, .nodeExists, .badVersion, .notEmpty:
            .groupsHaveChanged(messages: entries.count { $0.group != nil })
        case _ where cause.isRefusal && cause.code != .quotaExceeded: .groupIsUnusable(group, cause)
        default: nil
        }
    }
}
