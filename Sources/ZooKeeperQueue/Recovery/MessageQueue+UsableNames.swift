import ZooKeeper

extension MessageQueue {
    /// Returns the names of a node's children; `nil` when the node does not exist.
    func namesIfPresent(_ path: String) async throws -> [String]? {
        do {
            return try await store.children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    /// Returns the names of a folder's children except those that are skipped; none when the folder does not exist.
    func usableNames(_ folder: String) async throws -> [String] {
        skipped.usable(try await namesIfPresent(folder) ?? [], in: folder)
    }
}
