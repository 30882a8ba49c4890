/// A registered consumer, and what it holds.
public struct ConsumerInfo: Sendable, Hashable {
    /// A lease of a consumer. A node that holds several messages has one lease. See
    /// ``QueueAttributes/maximumBatchSize``.
    public struct Lease: Sendable, Hashable {
        /// The name of the leased node.
        public let nodeName: String
        /// When the consumer claimed the node.
        public let claimedAt: EnsembleTime
    }

    /// The consumer's name in the tree.
    public let name: String
    /// Whether the consumer's session lives. When it has ended, a recovery redelivers the consumer's messages.
    public let isAlive: Bool
    /// When the consumer registered.
    public let registeredAt: EnsembleTime
    /// The leases of the consumer, the oldest first. The single message of a legacy client is not a lease.
    public let leases: [Lease]
}
