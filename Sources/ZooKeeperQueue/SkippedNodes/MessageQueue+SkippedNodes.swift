import ZooKeeper

extension MessageQueue {
    /// The nodes that the members of this process skip, because they cannot be handled, in the order of their paths.
    ///
    /// A member passes over such a node, goes on with the others, and tries it again later: after a second, and then after pauses
    /// that double up to five minutes. So a node comes back by itself when it is mended.
    public func skippedNodes() -> [SkippedNode] { skipped.all }

    /// Looks for nodes that no member can handle, whether or not a member has met them.
    ///
    /// It reads the first nodes of each of the queue's folders.
    ///
    /// - Parameter limit: how many nodes of each folder to look at.
    /// - Throws: ``QueueError``; ``QueueError/Code/queueMissing`` when there is no queue.
    public func findUnusableNodes(limit: Int = 100) async throws -> [SkippedNode] {
        try await QueueError.translating(while: "looking for unusable nodes", queue: path) {
            guard try await store.exists(tree.root) != nil else { throw missing }
            let epoch = try await currentEpoch()
            var found = try await unusableMessages(in: tree.items, limit) { ItemName($0, inEpoch: epoch.number) }
            for folder in [tree.earlier, tree.partial] {
                found += try await unusableMessages(in: folder, limit) { ItemName($0) }
            }
            for consumer in try await names(tree.consumers).prefix(limit) {
                found += try await unusableMessages(in: tree.consumer(consumer).item, limit) { ItemName($0) }
            }
            found += try await unusable(names(tree.dead), in: tree.dead, limit) { name, node in
                // One child is the letter's cause.
                if node.stat.numChildren > 1 { return .hasChildren }
                return ItemName(name) == nil ? .unknownName : nil
            }
            found += try await unusable(names(tree.producers), in: tree.producers, limit) { _, node in
                node.stat.numChildren > 0 ? .hasChildren : nil
            }
            found += try await unusable(names(tree.idle), in: tree.idle, limit) { _, node in
                node.stat.ephemeralOwner == 0 ? .notEphemeral : nil
            }
            return found
        }
    }

    private func unusableMessages(
        in folder: String, _ limit: Int, _ parse: (String) -> ItemName?
    ) async throws -> [SkippedNode] {
        let parsed = try await names(folder).map { (name: $0, item: parse($0)) }
        let unknown = parsed.filter { $0.item == nil }.map(\.name).sorted()
        // Items are looked at in order, because an item that no consumer can take ends up at the head.
        let known = parsed.filter { $0.item != nil }.sorted { a, b in
            if let a = a.item, let b = b.item { a < b } else { false }
        }
        return try await unusable(unknown + known.map(\.name), in: folder, limit) { name, node in
            guard let item = parse(name) else { return .unknownName }
            if node.stat.numChildren > 0 { return .hasChildren }
            let path = "\(folder)/\(name)"
            if store.countThatFits([[.delete(path), .create(path, data: node.data)]]) == 0 { return .tooLarge }
            return MessageNode.messages(in: node.data ?? [], of: item) == nil ? .unknownContent : nil
        }
    }

    private func unusable(
        _ names: [String], in folder: String, _ limit: Int, _ reason: (String, Node) -> SkippedNode.Reason?
    ) async throws -> [SkippedNode] {
        let names = names.prefix(limit)
        let paths = names.map { "\(folder)/\($0)" }
        return zip(zip(names, paths), try await read(paths)).compactMap { named, reading in
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
