import ZooKeeper

/// Packs a producer's messages into nodes: one message into each node, or several consecutive messages of the
/// same priority into one node.
struct BatchPacker {
    /// The most messages in one node.
    var maximumBatchSize = 1
    /// The most bytes of a node's messages, counting a create for each message, because a batch
    /// must be split with one multi.
    let maximumBytes: Int

    /// The bytes that a single message's create gains when a batch is split: the sequence
    /// number, the index and the count.
    private static let margin = 32

    mutating func use(_ attributes: QueueAttributes) {
        // With a single delivery, a failed consumer would take all messages of a node to the dead letters.
        maximumBatchSize = attributes.maximumDeliveries > 1 ? attributes.maximumBatchSize : 1
    }

    /// Returns the messages of each node, in order.
    func nodes(_ entries: [ProducerSequence.Entry]) -> [ArraySlice<ProducerSequence.Entry>] {
        var nodes: [ArraySlice<ProducerSequence.Entry>] = []
        var start = 0
        var bytes = 0
        for (index, entry) in entries.enumerated() {
            let size = entry.size + Self.margin
            let isFull = index - start == maximumBatchSize || bytes + size > maximumBytes
            let differs =
                entry.priority != entries[start].priority || entry.isStoredAlone || entries[start].isStoredAlone
            if index > start, isFull || differs {
                nodes.append(entries[start..<index])
                (start, bytes) = (index, 0)
            }
            bytes += size
        }
        if start < entries.count { nodes.append(entries[start...]) }
        return nodes
    }

    /// Returns the creates of the message nodes.
    static func creates(_ nodes: [ArraySlice<ProducerSequence.Entry>], in tree: QueueTree) -> [ZooKeeperOperation] {
        // Most messages of a batch have the same priority, so the path is reused.
        var (priority, path) = (-1, "")
        return nodes.compactMap { node in
            guard let first = node.first else { return nil }
            if let group = first.group, first.waitsInGroup {
                let path = tree.group(group) + "/" + ItemName.prefix(priority: first.priority)
                return .create(path, data: first.data, mode: .persistentSequential)
            }
            if let due = first.due {
                let path = tree.delayed(ItemName.prefix(priority: first.priority), due: due)
                return .create(path, data: first.data, mode: .persistentSequential)
            }
            if first.priority != priority {
                priority = first.priority
                path = tree.item(ItemName.prefix(priority: priority))
            }
            let data = node.count == 1 ? first.data : RecordBatch(records: node.map(\.data)).encoded()
            return .create(path, data: data, mode: .persistentSequential)
        }
    }

    /// Appends the names of `count` messages that are stored in the node with this name.
    static func add(_ count: Int, node: String?, in epoch: SequenceEpoch, to names: inout [String?]) {
        // In epoch 0 the name has no epoch tag, so it is complete.
        if count == 1, epoch.number == 0 { return names.append(node) }
        guard let item = node.flatMap({ ItemName($0, inEpoch: epoch.number) }) else {
            return names.append(contentsOf: repeatElement(node, count: count))
        }
        if count == 1 { return names.append(item.string) }
        for index in 0..<count { names.append(item.message(index).string) }
    }
}
