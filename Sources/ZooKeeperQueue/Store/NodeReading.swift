import ZooKeeper

/// The result of reading one of several nodes.
enum NodeReading: Sendable {
    case node(Node)
    case missing
    /// ZooKeeper refuses to return it.
    case refused(ZooKeeperError)

    var isMissing: Bool {
        if case .missing = self { true } else { false }
    }

    var node: Node? {
        if case .node(let node) = self { node } else { nil }
    }
}

extension MessageQueue {
    /// Reads several nodes at once. One that may not be read fails the whole request. Then each is read by itself, so
    /// that the others are returned.
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
