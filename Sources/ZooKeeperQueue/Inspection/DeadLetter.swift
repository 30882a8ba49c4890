import ZooKeeper

/// A message that was moved to the dead letters.
public struct DeadLetter: Sendable, Hashable {
    /// The name of the message's node.
    public let nodeName: String
    /// The bytes that were sent, or the data of the whole node when its format is unknown.
    public let payload: [UInt8]
    /// The headers that were sent with the payload.
    public let headers: [String: String]
    /// The ID that the message was sent with. See ``OutgoingMessage/id``.
    public let id: String?
    /// The key of the message's group. See ``OutgoingMessage/group``.
    public let group: String?
    /// Why the message was dead-lettered.
    public let reason: String
    /// The last failed deliveries, the oldest first: up to ten. See ``QueueMessage/failures``.
    public let failures: [DeliveryFailure]
    /// When the message expires or has expired; `nil` when it never does. A message that is redriven does not expire any
    /// more.
    public let expiresAt: EnsembleTime?
    /// When the message was dead-lettered.
    public let deadLetteredAt: EnsembleTime

    /// Returns the operations that create a dead letter. Shortens the cause, because the operations must fit into one
    /// request together with the end of a lease.
    static func operations(
        at path: String, data: [UInt8], cause: String, in store: any ZooKeeperStore
    ) -> [ZooKeeperOperation] {
        let letter = ZooKeeperOperation.create(path, data: data)
        // The remainder is always enough for the other operations of the transaction.
        let budget = store.maximumRequestSize - 2 * store.size(of: .create(path, data: [])) - data.count - 1_024
        let cause = Array(cause.prefix(utf8Count: min(maximumCause, max(0, budget))).utf8)
        return [letter, .create(path + "/cause", data: cause)]
    }

    /// The longest cause, in bytes of UTF-8.
    private static let maximumCause = 4_096
}
