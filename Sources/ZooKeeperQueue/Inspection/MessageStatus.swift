/// One message of a queue, and where it is.
public struct MessageStatus: Sendable, Hashable {
    /// Where a message can be.
    public enum Place: Sendable, Hashable {
        /// It is ready to be claimed.
        case ready
        /// It becomes ready at this time.
        case delayed(until: EnsembleTime)
        /// The consumer with this name has leased it since this time. See ``MessageQueue/consumers()``.
        case leased(by: String, since: EnsembleTime)
        /// Its consumer has failed or was silent, and a recovery will redeliver it.
        case recovering
        /// It waits behind earlier messages of its group.
        case waiting
        /// It became a dead letter for this reason at this time.
        case deadLettered(reason: String, at: EnsembleTime)
    }

    /// The name of the message. See ``SendReceipt/nodeName``.
    public let nodeName: String
    /// Where the message is.
    public let place: Place
    /// 0…999; a lower number is delivered first.
    public let priority: Int
    /// How often the message was requeued or recovered.
    public let redeliveries: Int
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
}

/// What a queue knows about a message ID.
public enum MessageLookup: Sendable, Hashable {
    /// The message is in the queue.
    case found(MessageStatus)
    /// The message was sent within the deduplication window, and is not in the queue any more: it was acknowledged,
    /// deleted, or has expired.
    case finished
    /// The queue has no such message, and remembers no such ID.
    case unknown
}
