/// Message counts by state. Not an atomic snapshot: the counts can be some milliseconds apart.
///
/// A node that holds several messages counts once. See ``QueueAttributes/maximumBatchSize``.
public struct QueueStatistics: Sendable, Hashable {
    /// Messages that are ready to be claimed.
    public var ready: Int
    /// Messages that consumers have leased.
    public var leased: Int
    /// Messages of failed consumers that were not redelivered yet.
    public var recovering: Int
    /// Dead letters.
    public var deadLettered: Int
    /// Registered consumers, including failed ones that were not recovered yet.
    public var consumers: Int
    /// How many nodes of ready messages were created since the last rollover. It grows with each message, or node of
    /// several messages, that is sent or returns to the queue, so two readings give a rate.
    public var totalEnqueued: Int
    /// The bytes that the queue keeps; `nil` unless the servers count them, which they do for a ``QueueCapacity`` in
    /// bytes.
    public var bytes: Int?
    /// Nodes that this process skips because it cannot handle them. See ``MessageQueue/skippedNodes()``.
    public var skipped = 0
    /// Messages that are delivered later.
    public var delayed = 0
    /// The delayed messages that were delivered before: they wait after a failed delivery.
    public var retrying = 0
    /// The number of message groups. The head of each group is counted by its state, for example in ``ready``. The
    /// messages behind it are not counted.
    public var groups = 0
    /// When the first delayed message is due; `nil` when there is none. When this time has passed by seconds, no
    /// recovery is running.
    public var nextDueAt: EnsembleTime?
    /// What is paused. See ``QueueAttributes/paused``.
    public var paused: Set<QueueAttributes.Activity> = []
}

/// A ready message that was read without claiming it.
public struct PeekedMessage: Sendable, Hashable {
    /// The name of the message's node.
    public let nodeName: String
    /// 0…999; a lower number is delivered first.
    public let priority: Int
    /// The delivery count that the next delivery will have.
    public let deliveryCount: Int
    /// The bytes that were sent.
    public let payload: [UInt8]
    /// The headers that were sent with the payload.
    public let headers: [String: String]
    /// The ID that the message was sent with. See ``OutgoingMessage/id``.
    public let id: String?
    /// The key of the message's group. See ``OutgoingMessage/group``.
    public let group: String?
    /// The last failed deliveries, the oldest first: up to ten. See ``QueueMessage/failures``.
    public let failures: [DeliveryFailure]
    /// From when on the message is expired. See ``OutgoingMessage/expiresAfter``.
    public let expiresAt: EnsembleTime?
    /// When the message became ready.
    public let enqueuedAt: EnsembleTime
}
