import ZooKeeper

extension ZooKeeperStore {
    /// Deletes a node that does no harm if it stays. Gives up after five seconds without a response.
    func deleteIfPossible(_ path: String) async {
        let end = now + .seconds(5)
        repeat {
            do {
                return try await delete(path, version: nil)
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(self)
            } catch {
                return
            }
        } while now < end
    }

    /// Whether both are the same store. Stores that are values are compared by their sessions.
    func isSame(as other: any ZooKeeperStore) -> Bool {
        guard type(of: other) == Self.self else { return false }
        if Self.self is AnyClass { return (self as AnyObject) === (other as AnyObject) }
        return sessionState.sessionID == other.sessionState.sessionID
    }
}
