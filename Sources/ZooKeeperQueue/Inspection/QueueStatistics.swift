/// How many messages are where, read one after the other, so that they can be some milliseconds apart.
public struct QueueStatistics: Sendable, Hashable {
    /// Messages that wait to be taken.
    public var ready: Int
    /// Messages that consumers hold.
    public var leased: Int
    /// Messages of failed consumers, not yet given back.
    public var partial: Int
    /// Messages that were given up.
    public var dead: Int
    /// Registered consumers, those that have failed and are not yet recovered included.
    public var consumers: Int
    /// How many nodes were ever created among the ready messages since the server's numbers began anew: it grows with each
    /// message (or node of several) that is sent or comes back, so that two looks tell a rate.
    public var created: Int
    /// The bytes of all that the queue keeps; `nil` unless the servers count them, as they do for a ``QueueBound`` of bytes.
    public var bytes: Int?
    /// Nodes that the members of this process skip, because they cannot be handled: see ``MessageQueue/skippedNodes()``.
    public var skipped = 0
}

/// A message that was looked at without being taken.
public struct BrowsedMessage: Sendable, Hashable {
    /// The name of its node.
    public let name: String
    /// 0…999; lower ones are served first.
    public let priority: Int
    /// How often it would have been delivered with its next delivery.
    public let deliveryCount: Int
    /// The bytes that were sent.
    public let payload: [UInt8]
    /// The names and values that were sent with the payload.
    public let headers: [String: String]
    /// The id that the message was sent with: see ``OutgoingMessage/id``.
    public let id: String?
    /// When it became ready, by the ensemble's clock: milliseconds since 1970.
    public let enqueueTime: Int64
}
