/// A message to send.
public struct OutgoingMessage: Sendable, Hashable {
    /// The bytes to deliver. They may be empty.
    public var payload: [UInt8]
    /// 0…999; a lower number is delivered first. Default: 100.
    public var priority: Int
    /// The headers that travel with the payload. A message with headers is stored in an envelope,
    /// which foreign clients see.
    public var headers: [String: String]
    /// The deduplication ID: 1 to 255 bytes of UTF-8. Default: none.
    ///
    /// Of all messages with the same ID, sent by any producer of any process within the deduplication window
    /// (``QueueAttributes/deduplicationWindow``), the queue stores one. The ID travels with the payload, in an
    /// envelope.
    ///
    /// After a crash, a process that does not know whether it sent a message can send the message again. Each ID costs
    /// the ensemble one more node until the window ends.
    public var id: String?

    /// How long the queue holds the message back, from the call of `send` on: zero to ten years. Default: zero.
    ///
    /// The message is never delivered before its time, by the ensemble's clock. A running ``QueueRecovery`` makes it
    /// ready, usually within 100 milliseconds after its time. Without one it stays delayed.
    public var delay: Duration
    /// The time from which on the message is delivered, by the ensemble's clock: at most ten years ahead. A time that
    /// has passed means now. Cannot be combined with ``delay``. Default: none.
    public var deliverAt: EnsembleTime?
    /// How long the message is valid, from the call of `send` on: more than zero, and more than ``delay``. Default: for
    /// ever.
    ///
    /// An expired message is not handed out any more, by the ensemble's clock. It moves to the dead letters or is
    /// deleted, as ``QueueAttributes/whenExpired`` says.
    public var expiresAfter: Duration?
    /// The time from which on the message is expired, by the ensemble's clock, and later than ``deliverAt``. Cannot be
    /// combined with ``expiresAfter``. Default: none.
    public var expiresAt: EnsembleTime?
    /// The key of the message's group, for example a customer's number: 1 to 255 bytes of UTF-8. Default: none.
    ///
    /// The messages of a group are delivered one at a time, in the order in which they were stored. The next message
    /// becomes ready when the one before it has been acknowledged, cancelled or dead-lettered, or has expired.
    /// ``QueueAttributes/deadLetterBlocksGroup`` and ``QueueAttributes/retryBlocksGroup`` change this. Groups take
    /// turns, so a long group does not delay the others.
    ///
    /// A message with a group cannot have a ``delay`` or ``deliverAt``, and its size limit is a little less than half
    /// of the usual one. If it expires, it is removed only when its turn comes. A store without transactions refuses
    /// it.
    public var group: String?

    /// Creates a message from bytes. Each property describes its setting.
    public init(
        _ payload: [UInt8], priority: Int = 100, headers: [String: String] = [:], id: String? = nil,
        delay: Duration = .zero, deliverAt: EnsembleTime? = nil, expiresAfter: Duration? = nil,
        expiresAt: EnsembleTime? = nil, group: String? = nil
    ) {
        self.id = id
        self.payload = payload
        self.priority = priority
        self.headers = headers
        self.delay = delay
        self.deliverAt = deliverAt
        self.expiresAfter = expiresAfter
        self.expiresAt = expiresAt
        self.group = group
    }

    /// Creates a message from the UTF-8 bytes of a text. Each property describes its setting.
    public init(
        _ text: String, priority: Int = 100, headers: [String: String] = [:], id: String? = nil,
        delay: Duration = .zero, deliverAt: EnsembleTime? = nil, expiresAfter: Duration? = nil,
        expiresAt: EnsembleTime? = nil, group: String? = nil
    ) {
        self.init(
            Array(text.utf8), priority: priority, headers: headers, id: id, delay: delay, deliverAt: deliverAt,
            expiresAfter: expiresAfter, expiresAt: expiresAt, group: group)
    }
}

/// The result of sending one message.
public struct SendReceipt: Sendable, Hashable {
    /// The name of the message's node. It is `nil` for a duplicate, and for a message that is stored although the
    /// reply with its name was lost. A delayed message, and a message that waits for others of its group, gets another
    /// name when it becomes ready.
    public let nodeName: String?
    /// Whether a message with the same ``OutgoingMessage/id`` had already been stored, so this one was not.
    public var isDuplicate = false
}

/// A send whose outcome is unknown. Pass it to ``QueueProducer/resume(_:timeout:)`` of the same producer.
public struct UnresolvedSend: Sendable, Hashable {
    let number: UInt64
}
