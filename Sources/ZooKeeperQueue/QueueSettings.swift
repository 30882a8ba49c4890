/// Limits and times of a queue. All members of a queue should use the same.
public struct QueueSettings: Sendable, Hashable {
    /// Whether the queue's nodes are created where they are missing. Default: true.
    public var createsQueue: Bool
    /// How often a message is delivered before it goes to the dead letters instead of back. Default: 10.
    ///
    /// When the queue is created, a value other than the default is stored in it, and holds for every member, whatever
    /// the member's own settings are. Change it in an existing queue with ``MessageQueue/setMaximumDeliveries(_:)``.
    /// Where the queue stores no value, each member uses its own.
    public var maximumDeliveries: Int
    /// How long a recovery keeps the message of a failed consumer before it gives it back. Default: none.
    ///
    /// Like ``maximumDeliveries``, it is stored in the queue when the queue is created with a value other than the
    /// default. Change it in an existing queue with ``MessageQueue/setRedeliveryDelay(_:)``.
    public var redeliveryDelay: Duration
    /// How long a producer may be silent before a recovery removes its lane. It must be much longer than any send takes;
    /// a producer that comes back makes a new one. Default: an hour.
    public var laneRetention: Duration
    /// How old a node that an older producer created and never filled must be before a recovery removes it, by the
    /// ensemble's clock. Default: five minutes.
    public var unfilledItemAge: Duration

    /// How long the ids of messages are remembered at least (``OutgoingMessage/id``), by the ensemble's clock; it can be twice as
    /// long. Default: ten minutes.
    ///
    /// As ``messagesPerNode``, it is what a queue gets when it is created. Of a queue that exists, change it with
    /// ``MessageQueue/setIDRetention(_:)``.
    public var idRetention: Duration

    /// The most messages that a producer stores in one node, of those that it sends together: 1…900. Default: 1.
    ///
    /// With more, a queue is several times faster, since one read and one step take many messages. Each still has its own
    /// lease, acknowledgement, delivery count and dead letter, but a consumer takes a node's messages all at once, so that
    /// one with a small ``ConsumerConfiguration/prefetch`` holds more than that, and clients in other languages must know
    /// the form (see the wire format). Counts of ready and leased messages are then counts of nodes. A producer whose
    /// ``maximumDeliveries`` is 1 stores each by itself all the same.
    ///
    /// It is what a queue gets when it is created: it stands in the tree, and holds for all producers. Of a queue that
    /// exists, change it with ``MessageQueue/setMessagesPerNode(_:)``.
    public var messagesPerNode: Int

    /// How much may stand in the queue before producers are refused, or wait. Default: no bound.
    ///
    /// As ``messagesPerNode``, it is what a queue gets when it is created. Of a queue that exists, change it with
    /// ``MessageQueue/setBound(_:)``.
    public var bound: QueueBound

    /// At which of the server's numbers a recovery lets them begin anew: 1…2,000,000,000. Default: 1,500,000,000.
    ///
    /// The server numbers what is created in a queue with 32 bits, and refuses every further message after 2,147,483,647 of
    /// them. The rest is what can still be sent while no recovery runs: at 10,000 messages a second, 18 hours.
    public var sequenceLimit: Int

    /// What ``messagesPerNode`` can be.
    static let messagesPerNodeRange = 1...RecordBatch.maximumCount

    /// Creates settings.
    public init(
        createsQueue: Bool = true, maximumDeliveries: Int = 10, redeliveryDelay: Duration = .zero,
        laneRetention: Duration = .seconds(3_600), unfilledItemAge: Duration = .seconds(300),
        idRetention: Duration = .seconds(600), messagesPerNode: Int = 1,
        bound: QueueBound = .init(), sequenceLimit: Int = 1_500_000_000
    ) {
        self.createsQueue = createsQueue
        self.maximumDeliveries = maximumDeliveries
        self.redeliveryDelay = redeliveryDelay
        self.laneRetention = laneRetention
        self.unfilledItemAge = unfilledItemAge
        self.idRetention = idRetention
        self.messagesPerNode = messagesPerNode
        self.bound = bound
        self.sequenceLimit = sequenceLimit
    }

    func validate() throws {
        try bound.validate()
        guard maximumDeliveries >= 1 else {
            throw QueueError(.invalidArgument, "maximumDeliveries must be at least 1.")
        }
        guard Self.messagesPerNodeRange.contains(messagesPerNode) else {
            throw QueueError(.invalidArgument, "messagesPerNode is a number from 1 to 900; \(messagesPerNode) is not.")
        }
        guard (1...2_000_000_000).contains(sequenceLimit) else {
            throw QueueError(
                .invalidArgument, "sequenceLimit is a number from 1 to 2,000,000,000; \(sequenceLimit) is not.")
        }
        guard redeliveryDelay >= .zero, laneRetention > .zero, unfilledItemAge > .zero, idRetention > .zero
        else {
            throw QueueError(.invalidArgument, "The times of a queue's settings cannot be negative.")
        }
    }
}
