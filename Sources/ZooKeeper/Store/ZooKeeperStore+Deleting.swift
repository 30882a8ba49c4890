extension ZooKeeperStore {
    /// Deletes a node that does no harm if it stays. Gives up after five seconds without a response.
    ///
    /// - Returns: why the node was not deleted; `nil` when it was.
    @discardableResult
    package func deleteIfPossible(_ path: String, version: Int32? = nil) async -> ZooKeeperError.Code? {
        let end = now + .seconds(5)
        var code: ZooKeeperError.Code?
        repeat {
            do {
                try await delete(path, version: version)
                return nil
            } catch let error as ZooKeeperError where error.isRetryable {
                code = error.code
                await error.pauseIfRefusedAtOnce(self)
            } catch {
                return (error as? ZooKeeperError)?.code
            }
        } while now < end
        return code
    }

    /// Whether both are the same store. Stores that are values are compared by their sessions.
    package func isSame(as other: any ZooKeeperStore) -> Bool {
        guard type(of: other) == Self.self else { return false }
        if Self.self is AnyClass { return (self as AnyObject) === (other as AnyObject) }
        return sessionState.sessionID == other.sessionState.sessionID
    }
}
