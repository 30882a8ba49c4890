import ZooKeeper

/// Reads the epoch of the sequence numbers, and the names whose meaning depends on it.
extension NodeReader {
    /// Returns the epoch of a complete queue.
    func sequenceEpoch() async throws -> SequenceEpoch { try SequenceEpoch(try await store.get(tree.epoch)) }

    /// Returns the epoch. A queue of an older or foreign client has none, which counts as epoch 0.
    func currentEpoch() async throws -> SequenceEpoch {
        try await node(tree.epoch).map(SequenceEpoch.init) ?? SequenceEpoch()
    }

    /// Returns the epoch once it differs from the given one, or the given one after the time limit.
    func sequenceEpoch(after old: SequenceEpoch, within limit: Duration) async throws -> SequenceEpoch {
        let (store, path) = (store, tree.epoch)
        return try await withThrowingTaskGroup(of: SequenceEpoch.self) { group in
            group.addTask {
                for try await node in store.dataUpdates(of: path) {
                    if let current = try node.map(SequenceEpoch.init), current.version != old.version { return current }
                }
                return old
            }
            group.addTask {
                try await store.sleep(for: limit)
                return old
            }
            defer { group.cancelAll() }
            return try await group.next() ?? old
        }
    }

    /// Returns the names of the ready messages, in no particular order, and the epoch that they belong to. Reads the
    /// names again when the epoch has changed in the meantime.
    func readyEntries() async throws -> (entries: [ReadyList.Entry], epoch: SequenceEpoch) {
        while true {
            let epoch = try await currentEpoch()
            let items = try await names(tree.items).compactMap { ItemName($0, inEpoch: epoch.number) }
            let earlier = epoch.usesEarlier ? try await names(tree.earlier).compactMap { ItemName($0) } : []
            guard try await currentEpoch() == epoch else { continue }
            let entries =
                items.map { ReadyList.Entry(name: $0, isEarlier: false) }
                + earlier.map { ReadyList.Entry(name: $0, isEarlier: true) }
            return (entries, epoch)
        }
    }
}
