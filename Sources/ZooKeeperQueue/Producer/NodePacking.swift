import ZooKeeper

/// How a producer's messages are put into nodes: each into one of its own, or several that follow each other with the same
/// priority into one.
struct NodePacking {
    /// The most messages of one node.
    var messagesPerNode = 1
    /// The most bytes of a node's messages, each with a create of its own: a batch must come apart in one multi.
    let maximumBytes: Int

    /// What a single message's create has more when a batch comes apart: the server's number, the index, the count.
    private static let margin = 32

    /// The messages of each node, in their order.
    func groups(_ entries: [SendLane.Entry]) -> [ArraySlice<SendLane.Entry>] {
        var groups: [ArraySlice<SendLane.Entry>] = []
        var start = 0
        var bytes = 0
        for (index, entry) in entries.enumerated() {
            let size = entry.size + Self.margin
            let isFull = index - start == messagesPerNode || bytes + size > maximumBytes
            if index > start, isFull || entry.priority != entries[start].priority {
                groups.append(entries[start..<index])
                (start, bytes) = (index, 0)
            }
            bytes += size
        }
        if start < entries.count { groups.append(entries[start...]) }
        return groups
    }

    /// The creates of the messages' nodes.
    static func creates(_ groups: [ArraySlice<SendLane.Entry>], in tree: QueueTree) -> [Operation] {
        // Most messages of a batch have the same priority.
        var (priority, path) = (-1, "")
        return groups.compactMap { group in
            guard let first = group.first else { return nil }
            if first.priority != priority {
                priority = first.priority
                path = tree.item(ItemName.prefix(priority: priority))
            }
            let data = group.count == 1 ? first.data : RecordBatch(records: group.map(\.data)).encoded()
            return .create(path, data: data, mode: .persistentSequential)
        }
    }

    /// Adds the names of so many messages, when their node has got this one.
    static func add(_ count: Int, node: String?, in epoch: SequenceEpoch, to names: inout [String?]) {
        // Without a tag, the name is the whole one.
        if count == 1, epoch.number == 0 { return names.append(node) }
        guard let item = node.flatMap({ ItemName($0, inEpoch: epoch.number) }) else {
            return names.append(contentsOf: repeatElement(node, count: count))
        }
        if count == 1 { return names.append(item.string) }
        for index in 0..<count { names.append(item.message(index).string) }
    }
}
