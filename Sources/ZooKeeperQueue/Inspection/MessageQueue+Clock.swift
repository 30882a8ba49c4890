import ZooKeeper

extension MessageQueue {
    /// Reads the ensemble's clock, with a transaction that leaves no node behind.
    package func readClock() async throws -> EnsembleTime {
        try await QueueError.translating(while: "reading the ensemble's clock", queue: path) {
            EnsembleTime(millisecondsSince1970: try await store.probe(below: tree.root).mtime)
        }
    }
}
