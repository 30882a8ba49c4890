/// A message that is delivered later.
public struct DelayedMessage: Sendable, Hashable {
    /// The name of the message's node. It changes when a message that was sent with a delay becomes ready.
    public let nodeName: String
    /// When the message becomes ready.
    public let dueAt: EnsembleTime
    /// 0…999; a lower number is delivered first.
    public let priority: Int
    /// The delivery count that the next delivery will have. It is above 1 for a message that was requeued with a delay.
    public let deliveryCount: Int
    /// The bytes that were sent.
    public let payload: [UInt8]
    /// The headers that were sent with the payload.
    public let headers: [String: String]
    /// The ID that the message was sent with. See ``OutgoingMessage/id``.
    public let id: String?
    /// The key of the message's group, which waits for this message. See ``OutgoingMessage/group``.
    public let group: String?
    /// The last failed deliveries, the oldest first: up to ten. See ``QueueMessage/failures``.
    public let failures: [DeliveryFailure]
    /// From when on the message is expired. See ``OutgoingMessage/expiresAfter``.
    public let expiresAt: EnsembleTime?
}
