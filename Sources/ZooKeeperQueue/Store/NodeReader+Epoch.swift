import ZooKeeper

/// The epoch of the server's numbers, and the names whose meaning depends on it.
extension NodeReader {
    /// Returns the epoch of a queue that is complete.
    func sequenceEpoch() async throws -> SequenceEpoch { try SequenceEpoch(try await store.get(tree.epoch)) }

    /// Returns the epoch. A queue of an older or a foreign client has none, and begins with the first.
    func currentEpoch() async throws -> SequenceEpoch {
        try await node(tree.epoch).map(SequenceEpoch.init) ?? SequenceEpoch()
    }

    /// Returns the epoch once it is in another state than the given one, or the given one when the time is over.
    func sequenceEpoch(after old: SequenceEpoch, within limit: Duration) async throws -> SequenceEpoch {
        let (store, path) = (store, tree.epoch)
        return try await withThrowingTaskGroup(of: SequenceEpoch.self) { group in
            group.addTask {
                for try await node in store.data(of: path) {
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

    /// Returns the names of the ready messages, in no order, and the epoch in which they have their meaning. Reads the
    /// names again when their meaning has changed meanwhile.
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
