/// The limits and times of a queue. Every process that uses the queue should use the same settings.
public struct QueueSettings: Sendable, Hashable {
    /// Whether to create the queue's nodes where they are missing. Default: true.
    public var createsQueue: Bool
    /// How often a message is delivered before it moves to the dead letters. Default: 10.
    ///
    /// A value other than the default is stored in the queue when the queue is created, and then applies to every
    /// process, whatever that process's own settings are. For an existing queue, change it with
    /// ``MessageQueue/setMaximumDeliveries(_:)``. Where the queue stores no value, each process uses its own.
    public var maximumDeliveries: Int
    /// How long a recovery holds back the message of a failed consumer before it redelivers the message. Default: none.
    ///
    /// Like ``maximumDeliveries``, a value other than the default is stored in the queue when the queue is created. For
    /// an existing queue, change it with ``MessageQueue/setRedeliveryDelay(_:)``.
    public var redeliveryDelay: Duration
    /// How long a producer may be silent before a recovery removes its node below `producers`. It must be much longer
    /// than any send takes. A producer that comes back creates a new node. Default: one hour.
    public var producerStateRetention: Duration
    /// The age at which a recovery removes a node that an older producer created but never filled, by the ensemble's
    /// clock. Default: five minutes.
    public var incompleteItemAge: Duration

    /// The deduplication window: the least time for which the queue remembers a message's ``OutgoingMessage/id``, by
    /// the ensemble's clock. An ID can be remembered for twice as long. Default: ten minutes.
    ///
    /// Like ``maximumDeliveries``, a value other than the default is stored in the queue when the queue is created.
    /// For an existing queue, change it with ``MessageQueue/setDeduplicationWindow(_:)``. Where the queue stores no
    /// value, each recovery uses its own.
    public var deduplicationWindow: Duration

    /// The most messages that a producer stores in one node, out of those that it sends together: 1…900. Default: 1.
    ///
    /// A larger value makes a queue several times faster, because one read and one transaction claim many messages.
    /// Each message keeps its own lease, acknowledgement, delivery count and dead letter. But a consumer claims all
    /// messages of a node at once, so a consumer with a small ``ConsumerConfiguration/prefetch`` holds more messages
    /// than that. Clients in other languages must know this format (see <doc:WireFormat>), and the counts of ready and
    /// leased messages become counts of nodes. A producer still stores each message in its own node where
    /// ``maximumDeliveries`` is 1.
    ///
    /// The value is stored in the tree when the queue is created, and then applies to all producers. For an existing
    /// queue, change it with ``MessageQueue/setMessagesPerNode(_:)``.
    public var messagesPerNode: Int

    /// The queue's capacity. When it is reached, sends fail or wait. Default: unlimited.
    ///
    /// Like ``messagesPerNode``, it takes effect when the queue is created. For an existing queue, change it with
    /// ``MessageQueue/setBound(_:)``.
    public var bound: QueueBound

    /// The sequence number at which a recovery starts a rollover: 1…2,000,000,000. Default: 1,500,000,000.
    ///
    /// The server numbers the nodes of a queue with 32 bits, and refuses every further message after number
    /// 2,147,483,647. The difference is the number of messages that can still be sent while no recovery runs: at 10,000
    /// messages a second, it lasts for 18 hours.
    public var sequenceRolloverThreshold: Int

    /// The valid values of ``messagesPerNode``.
    static let messagesPerNodeRange = 1...RecordBatch.maximumCount

    /// Creates settings.
    public init(
        createsQueue: Bool = true, maximumDeliveries: Int = 10, redeliveryDelay: Duration = .zero,
        producerStateRetention: Duration = .seconds(3_600), incompleteItemAge: Duration = .seconds(300),
        deduplicationWindow: Duration = .seconds(600), messagesPerNode: Int = 1,
        bound: QueueBound = .init(), sequenceRolloverThreshold: Int = 1_500_000_000
    ) {
        self.createsQueue = createsQueue
        self.maximumDeliveries = maximumDeliveries
        self.redeliveryDelay = redeliveryDelay
        self.producerStateRetention = producerStateRetention
        self.incompleteItemAge = incompleteItemAge
        self.deduplicationWindow = deduplicationWindow
        self.messagesPerNode = messagesPerNode
        self.bound = bound
        self.sequenceRolloverThreshold = sequenceRolloverThreshold
    }

    func validate() throws {
        try bound.validate()
        guard maximumDeliveries >= 1 else {
            throw QueueError(.invalidArgument, "maximumDeliveries must be at least 1.")
        }
        guard Self.messagesPerNodeRange.contains(messagesPerNode) else {
            throw QueueError(.invalidArgument, "messagesPerNode is a number from 1 to 900; \(messagesPerNode) is not.")
        }
        guard (1...2_000_000_000).contains(sequenceRolloverThreshold) else {
            throw QueueError(
                .invalidArgument,
                "sequenceRolloverThreshold is a number from 1 to 2,000,000,000; \(sequenceRolloverThreshold) is not.")
        }
        guard redeliveryDelay >= .zero, producerStateRetention > .zero, incompleteItemAge > .zero,
            deduplicationWindow > .zero
        else {
            throw QueueError(.invalidArgument, "The times of a queue's settings cannot be negative.")
        }
    }
}
