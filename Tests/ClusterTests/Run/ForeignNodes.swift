import ZooKeeper

/// Nodes that other programs leave in a queue's tree: two messages that must be delivered, and things that must be left
/// alone, and harm nobody.
enum ForeignNodes {
    /// A plain client's message, and one whose bytes only begin like an envelope.
    static let messages: [[UInt8]] = [Array("foreign".utf8), [0x8F, 0x5A, 0x4B, 0x51, 1]]

    /// Well-formed, of a version that nobody knows yet.
    private static let fromTheFuture: [UInt8] = [0x8F, 0x5A, 0x4B, 0x51, 200, 1, 0, 0, 0, 0, 1, 2, 3]

    private static let strange: [(path: String, data: [UInt8]?)] = [
        ("/queue/items/not-an-item", [1, 2, 3]), ("/queue/items/item-abc-0000000001", nil),
        ("/queue/items/item-100-99999999999", []), ("/queue/items/item-050-0000000001", fromTheFuture),
        ("/queue/consumers/strange", [0xFF, 0xFE]), ("/queue/consumers/strange/active", nil),
        ("/queue/consumers/strange/item", nil), ("/queue/dead/strange", [0]), ("/queue/producers/strange", nil),
    ]

    /// What of these must still be there at the end. A consumer's node that is not ephemeral looks alive, and a producer's
    /// that has been silent for long is removed.
    static let expected = strange.map(\.path).filter { $0 != "/queue/producers/strange" }

    static func create(_ client: ZooKeeperClient) async throws {
        for (path, data) in strange { try await client.create(path, data: data) }
        for data in messages {
            try await client.create("/queue/items/item-100-", data: data, mode: .persistentSequential)
        }
    }
}
