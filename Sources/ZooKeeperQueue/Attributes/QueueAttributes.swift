/// The settings of a queue that all its members share. They are stored in the queue's tree.
///
/// Pass them to ``MessageQueue/createIfNeeded(_:)`` when the queue is created, and change them later with
/// ``MessageQueue/update(_:)``. Running producers apply a change at their next transaction, and consumers at once.
public struct QueueAttributes: Sendable, Hashable {
    /// How often a message is delivered before it moves to the dead letters: 1 or more. Default: 10.
    public var maximumDeliveries: Int

    /// How long a message waits after a failed delivery: when its handler throws, exceeds its time limit or drops the
    /// message, and from its second crash on when its consumer crashes. A ``QueueWorker`` can have another policy.
    /// Default: it is delivered again at once.
    public var retry: RetryPolicy

    /// What happens to a message that has expired. Default: it moves to the dead letters.
    public var whenExpired: WhenExpired

    /// Whether a dead letter with a ``OutgoingMessage/group`` blocks its group: the group's other messages wait until
    /// the dead letter is redriven or deleted. Default: the group goes on without it.
    public var deadLetterBlocksGroup: Bool

    /// Whether a message with a ``OutgoingMessage/group`` blocks its group while it waits for a retry, or is requeued
    /// with a delay. If not, the message leaves its group, which goes on, and is delivered again outside the group's
    /// order. Default: it blocks the group.
    public var retryBlocksGroup: Bool

    /// How long a recovery holds back the message of a failed consumer before it redelivers the message. Default: zero.
    /// The tree stores whole milliseconds.
    public var redeliveryDelay: Duration

    /// How long a consumer that holds messages may send nothing before a recovery takes its leases away, although its
    /// session lives: at least a second. Default: 60 seconds. `nil` means that it keeps its leases as long as its
    /// session lives. The tree stores whole milliseconds.
    ///
    /// A session lives as long as the client's own threads do, also in a process whose other threads are all blocked. A
    /// consumer therefore renews its leases, with at most one write in each third of this time, however many leases it
    /// holds and however long its handlers run. A value below the session timeout ends leases sooner than the session
    /// when a consumer loses its connection.
    public var leaseTimeout: Duration?

    /// The deduplication window: the least time for which the queue remembers a message's ``OutgoingMessage/id``, by
    /// the ensemble's clock. An ID can be remembered for twice as long. Default: ten minutes. The tree stores whole
    /// milliseconds.
    public var deduplicationWindow: Duration

    /// The most messages that a producer stores in one node, out of those that it sends together: 1…900. Default: 1.
    ///
    /// A larger value makes a queue several times faster, because one read and one transaction claim many messages.
    /// Each message keeps its own lease, acknowledgement, delivery count and dead letter. But a consumer claims all
    /// messages of a node at once, so a consumer with a small ``QueueConsumer/Configuration/prefetch`` holds more
    /// messages than that. Clients in other languages must know this format (see <doc:WireFormat>), and the counts of
    /// ready and leased messages become counts of nodes. A producer still stores each message in its own node where
    /// ``maximumDeliveries`` is 1.
    public var maximumBatchSize: Int

    /// The queue's capacity. When it is reached, sends fail or wait. Default: unlimited.
    public var capacity: QueueCapacity

    /// The sequence number at which a recovery starts a rollover: 1…2,000,000,000. Default: 1,500,000,000.
    ///
    /// The server numbers the nodes of a queue with 32 bits, and refuses every further message after number
    /// 2,147,483,647. The difference is the number of messages that can still be sent while no recovery runs: at 10,000
    /// messages a second, it lasts for 18 hours.
    public var sequenceRolloverThreshold: Int

    /// What is paused, for all members. Default: nothing.
    ///
    /// While sending is paused, a send throws ``QueueError/Code/paused``. While consuming is paused, consumers hand out
    /// no message, and return those that they have not handed out. The messages that handlers hold are settled as
    /// usual. A send of several messages of which some are stored goes on. Running members notice a change at once, and
    /// continue when the pause ends.
    public var paused: Set<Activity>

    /// An activity that can be paused.
    public enum Activity: String, Sendable, Hashable, CaseIterable {
        /// Sending messages. Delayed messages still become ready, and messages are still redelivered.
        case send
        /// Handing out messages.
        case consume
    }

    /// What happens to a message that has expired. See ``OutgoingMessage/expiresAfter``.
    public enum WhenExpired: String, Sendable, Hashable, CaseIterable {
        /// The message moves to the dead letters, with the reason "expired".
        case deadLetter = "dead-letter"
        /// The message is deleted.
        case delete
    }

    /// The lines in the tree whose names this release does not know. They are kept.
    private var unknown: [String: String] = [:]
    /// The paused activities that this release does not know.
    private var unknownPaused: Set<String> = []

    /// Creates attributes. Each property describes its setting.
    public init(
        maximumDeliveries: Int = 10, retry: RetryPolicy = .immediate, whenExpired: WhenExpired = .deadLetter,
        deadLetterBlocksGroup: Bool = false, retryBlocksGroup: Bool = true, redeliveryDelay: Duration = .zero,
        leaseTimeout: Duration? = .seconds(60),
        deduplicationWindow: Duration = .seconds(600), maximumBatchSize: Int = 1, capacity: QueueCapacity = .init(),
        sequenceRolloverThreshold: Int = 1_500_000_000, paused: Set<Activity> = []
    ) {
        self.maximumDeliveries = maximumDeliveries
        self.retry = retry
        self.whenExpired = whenExpired
        self.deadLetterBlocksGroup = deadLetterBlocksGroup
        self.retryBlocksGroup = retryBlocksGroup
        self.redeliveryDelay = redeliveryDelay
        self.leaseTimeout = leaseTimeout
        self.deduplicationWindow = deduplicationWindow
        self.maximumBatchSize = maximumBatchSize
        self.capacity = capacity
        self.sequenceRolloverThreshold = sequenceRolloverThreshold
        self.paused = paused
    }

    /// Takes over the lines of stored attributes that this release does not know, because a change must keep them.
    mutating func keepUnknown(of stored: QueueAttributes) {
        (unknown, unknownPaused) = (stored.unknown, stored.unknownPaused)
    }

    /// Throws for a value outside its limits.
    func validate() throws {
        func require(_ isValid: Bool, _ name: String, _ range: String, _ value: some CustomStringConvertible) throws {
            if isValid { return }
            throw QueueError(.invalidArgument, "\(name) must be \(range), not \(value).")
        }
        try require(maximumDeliveries >= 1, "maximumDeliveries", "at least 1", maximumDeliveries)
        try require(
            redeliveryDelay >= .zero && redeliveryDelay <= Self.longestTime, "redeliveryDelay",
            "from zero to 100 years", redeliveryDelay)
        if let leaseTimeout {
            try require(
                leaseTimeout >= .seconds(1) && leaseTimeout <= Self.longestTime, "leaseTimeout",
                "from one second to 100 years, or nil", leaseTimeout)
        }
        try require(
            deduplicationWindow > .zero && deduplicationWindow <= Self.longestTime, "deduplicationWindow",
            "more than zero and at most 100 years", deduplicationWindow)
        try require(
            Self.batchSizes.contains(maximumBatchSize), "maximumBatchSize", "from 1 to 900", maximumBatchSize)
        try require(
            Self.thresholds.contains(sequenceRolloverThreshold), "sequenceRolloverThreshold",
            "from 1 to 2,000,000,000", sequenceRolloverThreshold)
        try retry.validate()
        try capacity.validate()
    }

    private static let longestTime = Duration.seconds(100 * 366 * 86_400)
    private static let batchSizes = 1...RecordBatch.maximumCount
    private static let thresholds = 1...2_000_000_000
}

// MARK: Wire format

extension QueueAttributes {
    /// The names in the tree.
    private enum Name {
        static let maximumDeliveries = "maximum-deliveries"
        static let retry = "retry"
        static let whenExpired = "expired"
        static let deadLetterBlocksGroup = "dead-letter-blocks-group"
        static let retryBlocksGroup = "retry-blocks-group"
        static let redeliveryDelay = "redelivery-delay-milliseconds"
        static let leaseTimeout = "lease-timeout-milliseconds"
        static let deduplicationWindow = "id-retention-milliseconds"
        static let maximumBatchSize = "messages-per-node"
        static let maximumMessages = "maximum-messages"
        static let maximumBytes = "maximum-bytes"
        static let sequenceRolloverThreshold = "rollover-threshold"
        static let paused = "paused"
    }

    /// Reads the data of the node: lines of the form `name=value` in UTF-8. An attribute whose line is missing or
    /// invalid has its default.
    init(_ data: [UInt8]?) {
        self.init()
        for line in String(decoding: data ?? [], as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { unknown[parts[0]] = parts[1] }
        }
        func take(_ name: String, in range: ClosedRange<Int>) -> Int? {
            unknown.removeValue(forKey: name).flatMap { Int($0) }.flatMap { range.contains($0) ? $0 : nil }
        }
        let times = 0...Int(Self.longestTime / .milliseconds(1))
        maximumDeliveries = take(Name.maximumDeliveries, in: 1...Int.max) ?? maximumDeliveries
        retry = unknown.removeValue(forKey: Name.retry).flatMap { RetryPolicy($0) } ?? retry
        whenExpired =
            unknown.removeValue(forKey: Name.whenExpired).flatMap { WhenExpired(rawValue: $0) } ?? whenExpired
        deadLetterBlocksGroup = take(Name.deadLetterBlocksGroup, in: 0...1).map { $0 == 1 } ?? deadLetterBlocksGroup
        retryBlocksGroup = take(Name.retryBlocksGroup, in: 0...1).map { $0 == 1 } ?? retryBlocksGroup
        redeliveryDelay = take(Name.redeliveryDelay, in: times).map { .milliseconds($0) } ?? redeliveryDelay
        // Zero stands for no timeout.
        let timeout = take(Name.leaseTimeout, in: 0...times.upperBound)
        if let timeout, timeout == 0 || timeout >= 1_000 { leaseTimeout = timeout == 0 ? nil : .milliseconds(timeout) }
        deduplicationWindow =
            take(Name.deduplicationWindow, in: 1...times.upperBound).map { .milliseconds($0) } ?? deduplicationWindow
        maximumBatchSize = take(Name.maximumBatchSize, in: Self.batchSizes) ?? maximumBatchSize
        capacity.messages = take(Name.maximumMessages, in: 1...Int.max)
        capacity.bytes = take(Name.maximumBytes, in: 1...Int.max)
        sequenceRolloverThreshold =
            take(Name.sequenceRolloverThreshold, in: Self.thresholds) ?? sequenceRolloverThreshold
        let words = (unknown.removeValue(forKey: Name.paused) ?? "").split { $0 == "," || $0 == " " }.map(String.init)
        paused = Set(words.compactMap { Activity(rawValue: $0) })
        unknownPaused = Set(words.filter { Activity(rawValue: $0) == nil })
    }

    /// Returns the data of the node. A default is not written, because each member knows it.
    func encoded() -> [UInt8] {
        var lines = unknown
        func write<Value: Equatable>(
            _ name: String, _ path: KeyPath<QueueAttributes, Value>, _ text: (Value) -> String
        ) {
            if self[keyPath: path] != QueueAttributes()[keyPath: path] { lines[name] = text(self[keyPath: path]) }
        }
        func milliseconds(_ time: Duration) -> String { "\(Int(time / .milliseconds(1)))" }
        write(Name.maximumDeliveries, \.maximumDeliveries) { "\($0)" }
        write(Name.retry, \.retry) { $0.encoded }
        write(Name.whenExpired, \.whenExpired) { $0.rawValue }
        write(Name.deadLetterBlocksGroup, \.deadLetterBlocksGroup) { $0 ? "1" : "0" }
        write(Name.retryBlocksGroup, \.retryBlocksGroup) { $0 ? "1" : "0" }
        write(Name.redeliveryDelay, \.redeliveryDelay, milliseconds)
        write(Name.leaseTimeout, \.leaseTimeout) { milliseconds($0 ?? .zero) }
        // A window of less than a millisecond must not become none.
        write(Name.deduplicationWindow, \.deduplicationWindow) { milliseconds(max($0, .milliseconds(1))) }
        write(Name.maximumBatchSize, \.maximumBatchSize) { "\($0)" }
        lines[Name.maximumMessages] = capacity.messages.map { "\($0)" }
        lines[Name.maximumBytes] = capacity.bytes.map { "\($0)" }
        write(Name.sequenceRolloverThreshold, \.sequenceRolloverThreshold) { "\($0)" }
        let words = unknownPaused.union(paused.map(\.rawValue)).sorted()
        if !words.isEmpty { lines[Name.paused] = words.joined(separator: ",") }
        return Array(lines.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined().utf8)
    }
}
