import ZooKeeper

/// Searches the folders of a queue for nodes that no client can handle.
struct UnusableNodeSearch: Sendable {
    let queue: MessageQueue
    /// How many nodes to read in each folder.
    let limit: Int

    private var store: any ZooKeeperStore { queue.store }
    private var tree: QueueTree { queue.tree }
    private var reader: NodeReader { queue.reader }

    func run() async throws -> [SkippedNode] {
        try await QueueError.translating(while: "searching for unusable nodes", queue: queue.path) {
            guard try await store.exists(tree.root) != nil else { throw QueueError.missingQueue(at: queue.path) }
            let epoch = try await reader.currentEpoch()
            var found = try await unusableMessages(in: tree.items) { ItemName($0, inEpoch: epoch.number) }
            for folder in [tree.earlier, tree.partial] {
                found += try await unusableMessages(in: folder) { ItemName($0) }
            }
            for consumer in try await reader.names(tree.consumers).prefix(limit) {
                found += try await unusableMessages(in: tree.consumer(consumer).item) { ItemName($0) }
            }
            found += try await unusable(reader.names(tree.dead), in: tree.dead) { name, node in
                // One child is expected: the dead letter's cause.
                if node.stat.numChildren > 1 { return .hasChildren }
                return ItemName(name) == nil ? .unknownName : nil
            }
            found += try await unusable(reader.names(tree.producers), in: tree.producers) { _, node in
                node.stat.numChildren > 0 ? .hasChildren : nil
            }
            found += try await unusable(reader.names(tree.idle), in: tree.idle) { _, node in
                node.stat.ephemeralOwner == 0 ? .notEphemeral : nil
            }
            return found
        }
    }

    private func unusableMessages(
        in folder: String, _ parse: (String) -> ItemName?
    ) async throws -> [SkippedNode] {
        let parsed = try await reader.names(folder).map { (name: $0, item: parse($0)) }
        let unknown = parsed.filter { $0.item == nil }.map(\.name).sorted()
        // Sort the items, because one that no consumer can take ends up at the head of the queue.
        let known = parsed.filter { $0.item != nil }.sorted { a, b in
            if let a = a.item, let b = b.item { a < b } else { false }
        }
        return try await unusable(unknown + known.map(\.name), in: folder) { name, node in
            guard let item = parse(name) else { return .unknownName }
            if node.stat.numChildren > 0 { return .hasChildren }
            let path = "\(folder)/\(name)"
            if store.countThatFits([[.delete(path), .create(path, data: node.data)]]) == 0 { return .tooLarge }
            return MessageNode.messages(in: node.data ?? [], of: item) == nil ? .unknownContent : nil
        }
    }

    private func unusable(
        _ names: [String], in folder: String, _ reason: (String, Node) -> SkippedNode.Reason?
    ) async throws -> [SkippedNode] {
        let names = names.prefix(limit)
        let paths = names.map { "\(folder)/\($0)" }
        return zip(zip(names, paths), try await reader.read(paths)).compactMap { named, reading in
            let found: SkippedNode.Reason? =
                switch reading {
                case .node(let node): reason(named.0, node)
                case .missing: nil
                case .refused(let error): SkippedNode.Reason(error)
                }
            return found.map { SkippedNode(path: named.1, reason: $0) }
        }
    }
}
