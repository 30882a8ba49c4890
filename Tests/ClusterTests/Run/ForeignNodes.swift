import ZooKeeper

/// Nodes that other programs leave in a queue's tree: two messages, which must be delivered, and unknown nodes, which
/// must stay and do no harm.
enum ForeignNodes {
    /// A plain client's message, and a message whose first bytes look like an envelope.
    static let messages: [[UInt8]] = [Array("foreign".utf8), [0x8F, 0x5A, 0x4B, 0x51, 1]]

    /// A well-formed envelope of a version that no release knows.
    private static let futureVersion: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51, 200, 1, 0, 0, 0, 0, 1, 2, 3]

    private static let unknown: [(path: String, data: [UInt8]?)] = [
        ("/queue/items/not-an-item", [1, 2, 3]), ("/queue/items/item-abc-0000000001", nil),
        ("/queue/items/item-100-99999999999", []), ("/queue/items/item-050-0000000001", futureVersion),
        ("/queue/consumers/strange", [0xFF, 0xFE]), ("/queue/consumers/strange/active", nil),
        ("/queue/consumers/strange/item", nil), ("/queue/dead/strange", [0]), ("/queue/producers/strange", nil),
    ]

    /// The nodes that must still exist at the end. A consumer's node without an ephemeral owner counts as alive. A
    /// recovery removes a producer's node that has not changed for long.
    static let expected = unknown.map(\.path).filter { $0 != "/queue/producers/strange" }

    static func create(_ client: ZooKeeperClient) async throws {
        for (path, data) in unknown { try await client.create(path, data: data) }
        for data in messages {
            try await client.create("/queue/items/item-100-", data: data, mode: .persistentSequential)
        }
    }
}
