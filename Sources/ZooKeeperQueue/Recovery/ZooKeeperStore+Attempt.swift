import ZooKeeper

extension ZooKeeperStore {
    /// Applies a guarded transaction that another client may have overtaken.
    ///
    /// - Parameter codes: the errors which mean that another client was faster.
    /// - Returns: `true` when this call has applied the transaction; `false` after one of these errors or a lost reply.
    ///   The next pass of the recovery tries again.
    @discardableResult
    func attempt(_ operations: [ZooKeeperOperation], tolerating codes: ZooKeeperError.Code...) async throws -> Bool {
        do {
            _ = try await multi(operations)
            return true
        } catch let error as ZooKeeperError where codes.contains(error.code) || error.outcome == .unknown {
            return false
        }
    }
}
