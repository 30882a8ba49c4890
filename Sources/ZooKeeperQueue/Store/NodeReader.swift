import ZooKeeper

/// Reads the nodes of a queue. A node that ZooKeeper refuses to return does not keep it from reading the others.
struct NodeReader: Sendable {
    let store: any ZooKeeperStore
    let tree: QueueTree
    let skipped: SkippedNodeRegistry

    // MARK: One node

    /// Returns the node if it exists.
    func node(_ path: String) async throws -> Node? {
        do {
            return try await store.get(path)
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    /// Returns the node if it exists. Skips it when ZooKeeper refuses to return it.
    func usableNode(_ path: String) async throws -> Node? { try await readUsable([path])[0] }

    /// Returns a node's metadata if it exists. Skips the node when ZooKeeper refuses to return the metadata, as servers
    /// from 3.9 on do when the client may not read the node.
    func usableStat(_ path: String) async throws -> Stat? {
        do {
            return try await store.exists(path)
        } catch let error as ZooKeeperError where error.isRefusal {
            skipped.skip(path, error)
            return nil
        }
    }

    /// Returns the number of the node's children; 0 when the node does not exist.
    func childCount(_ path: String) async throws -> Int { Int(try await store.exists(path)?.numChildren ?? 0) }

    /// Returns the names of the node's children; none when the node does not exist.
    ///
    /// - Throws: ``QueueError/Code/queueNotFound`` when `items` does not exist, because then there is no queue.
    func names(_ path: String) async throws -> [String] {
        if let names = try await namesIfPresent(path) { return names }
        if path == tree.items { throw QueueError.missingQueue(at: tree.root) }
        return []
    }

    /// Returns the names of a node's children; `nil` when the node does not exist.
    func namesIfPresent(_ path: String) async throws -> [String]? {
        do {
            return try await store.children(of: path).names
        } catch let error as ZooKeeperError where error.code == .noNode {
            return nil
        }
    }

    /// Returns the names of a folder's children without skipped ones; none when the folder does not exist.
    func usableNames(_ folder: String) async throws -> [String] {
        skipped.usable(try await namesIfPresent(folder) ?? [], in: folder)
    }

    /// Returns the names of a folder's children without skipped ones; none when the folder does not exist, or when
    /// ZooKeeper refuses to list it. Then the folder is skipped.
    func usableNames(ofFolder folder: String) async throws -> [String] {
        var names: [String] = []
        try await skipped.handle(folder) { names = try await usableNames(folder) }
        return names
    }

    // MARK: Several nodes

    /// Reads several nodes at once. A node that the client may not read fails the whole request. In that case each node
    /// is read separately, so that the other nodes are returned.
    func read(_ paths: [String]) async throws -> [NodeReading] {
        do {
            return try await store.get(paths).map { $0.map(NodeReading.node) ?? .missing }
        } catch let error as ZooKeeperError where error.isRefusal {
            return try await withThrowingTaskGroup(of: (Int, NodeReading).self) { group in
                for (index, path) in paths.enumerated() {
                    group.addTask { (index, try await self.read(path)) }
                }
                return try await group.reduce(into: .init(repeating: .missing, count: paths.count)) { $0[$1.0] = $1.1 }
            }
        }
    }

    /// Reads the nodes, and skips those that ZooKeeper refuses to return.
    func readUsable(_ paths: [String]) async throws -> [Node?] {
        try await zip(paths, read(paths)).map { path, reading in
            if case .refused(let error) = reading { skipped.skip(path, error) }
            return reading.node
        }
    }

    private func read(_ path: String) async throws -> NodeReading {
        do {
            return .node(try await store.get(path))
        } catch let error as ZooKeeperError where error.code == .noNode {
            return .missing
        } catch let error as ZooKeeperError where error.isRefusal {
            return .refused(error)
        }
    }
}
