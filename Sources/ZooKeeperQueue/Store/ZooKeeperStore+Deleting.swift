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

    /// Whether both are the same store. Two stores that are values of one type count as the same.
    func isSame(as other: any ZooKeeperStore) -> Bool {
        guard type(of: other) == Self.self else { return false }
        return !(Self.self is AnyClass) || (self as AnyObject) === (other as AnyObject)
    }
}
