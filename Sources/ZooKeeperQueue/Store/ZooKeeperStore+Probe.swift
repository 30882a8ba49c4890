import ZooKeeper

extension ZooKeeperStore {
    /// Makes a change below a node that leaves nothing behind, and returns its metadata. Only a write reveals the
    /// ensemble's current zxid and clock.
    func probe(below path: String) async throws -> Stat {
        let probe = "\(path)/probe-\(RandomName.make())"
        let results = try await multi([
            .create(probe, data: []), .set(probe, data: [], version: nil), .delete(probe),
        ])
        guard results.count == 3, case .set(let stat) = results[1] else {
            throw QueueError.mismatchedResults
        }
        return stat
    }
}

extension QueueError {
    /// The error for a store whose results do not match the operations of a transaction. The transaction was applied,
    /// but nothing tells its version.
    static let mismatchedResults = QueueError(
        .outcomeUnknown,
        "The store returned results that do not match the operations of a transaction. Report this as a bug in the store."
    )
}
