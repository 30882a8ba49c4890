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
            throw QueueError(
                .failed,
                "The results of a transaction did not match its operations. Report this as a bug of the store.")
        }
        return stat
    }
}
