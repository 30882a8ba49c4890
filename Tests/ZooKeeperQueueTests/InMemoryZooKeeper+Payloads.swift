import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

extension InMemoryZooKeeper {
    /// The payloads of the ready messages, in the order of their nodes' names.
    var payloads: [String] {
        nodes.filter { $0.key.hasPrefix("/queue/items/") }.sorted { $0.key < $1.key }.flatMap { path, node in
            NodeContents(name: NodePath.name(of: path), data: node.data ?? []).messages.map {
                String(decoding: $0.payload, as: UTF8.self)
            }
        }
    }

    /// Removes a node and every node below it.
    func deleteAll(_ path: String) async throws {
        let session = connect("deleter")
        for path in nodes.keys.filter({ $0 == path || $0.hasPrefix(path + "/") }).sorted(by: >) {
            try await session.delete(path, version: nil)
        }
        session.close()
    }
}
