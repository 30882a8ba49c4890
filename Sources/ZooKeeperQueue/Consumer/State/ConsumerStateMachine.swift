import DequeModule
import Logging
import Synchronization
import ZooKeeper

/// The whole state of a consumer, and every decision that follows from it: a value that takes events and emits actions.
///
/// It never waits and does no I/O. It depends only on its events, the states of its leases, and the number of
/// iterators. An event emits each ``Action``, which the actor runs after the state has changed.
///
/// Each extension covers one concern: demand, scanning, transactions, leases. Only they change the
/// properties; the actor calls events.
struct ConsumerStateMachine: Sendable {
    enum Phase: Sendable { case open, closing, closed }

    /// What the actor does after an event.
    enum Action: Sendable {
        /// Starts the reader.
        case read
        /// Starts the committer with this transaction.
        indirect case commit(ConsumerTransaction)
        /// Starts the periodic check of the buffer.
        case oversee
        /// Starts the periodic check of the buffer again, because it may be far away.
        case restartOversight
        /// Starts to renew the leases.
        case renew
        /// Starts again to renew the leases, because the lease timeout has changed.
        case restartRenewal
        /// Wakes the reader while it waits for messages to read.
        case rescan
        /// Resumes all waiting callers, which then check the state again.
        case wake
        /// Resumes the caller of a settlement with its result.
        case resume(SettlementWaiter, Result<Void, any Error>)
        /// Changes the state of a lease, and tells its observers.
        case update(Lease, LeaseState)
        /// The lease may be settled again.
        case settlingFailed(Lease)
        /// The consumer holds no more messages.
        case becameEmpty
        /// Changes of the session and the epoch no longer concern this consumer.
        case stopWatching
        /// A settlement has ended a lease.
        case count(LeaseEnd)
        /// The leases were renewed.
        case countRenewal
        /// Settles a message that has expired.
        case expire(Lease)
        /// Skips a node for a while.
        case skip(path: String, SkippedNode.Reason)
        /// The node was claimed, even if it was skipped before.
        case handled(path: String)
        case log(Logger.Level, Logger.Message, Logger.Metadata)
    }

    /// How a settlement has ended a lease, for the metrics.
    enum LeaseEnd: Sendable, Hashable {
        case acknowledged
        case requeued(isFailure: Bool)
        case deadLettered(isFailure: Bool)
    }

    /// Whether the consumer is in the tree.
    enum Membership: Sendable, Hashable {
        case unregistered
        /// The consumer's node has this name, and its ephemeral node was not created yet.
        case pending(String)
        case registered(Registration)
    }

    /// The consumer's position in the wait queue of idle consumers.
    enum Position: Sendable, Hashable {
        case outside
        case waiting(String)
        /// The consumer has seen that its position is the first.
        case first(String)
        /// The permission for the wait queue is missing, so the consumer waits alone.
        case barred

        var name: String? {
            switch self {
            case .outside, .barred: nil
            case .waiting(let name), .first(let name): name
            }
        }
    }

    /// Used only for paths, sizes and settings.
    let queue: MessageQueue
    let configuration: QueueConsumer.Configuration
    let iterators: IteratorCount

    // MARK: Lifecycle

    var phase = Phase.open
    /// An error that retrying cannot fix, until a caller has received it.
    var failure: (any Error)?
    var membership = Membership.unregistered
    /// Whether the queue's folders are known to exist.
    var isPrepared = false
    /// Whether the consumer claims messages of groups. Without transactions it leaves them alone, because the next
    /// message of a group moves up together with an acknowledgement.
    private(set) var handlesGroups = true
    private var actions: [Action] = []

    // MARK: Demand

    /// How many callers have requested a message and have none yet.
    var demand = 0
    /// The total number of requests.
    var requests = 0
    /// The waiting callers.
    var waiters: Set<UInt64> = []

    // MARK: Leases

    /// The leases that are held and not settled, by the names of their messages.
    var leases: [String: Lease] = [:]
    /// The leases that were not handed out yet, in order.
    var buffer: Deque<Lease> = []
    var bufferLimit: BufferLimit
    /// The messages that this consumer requeued. It claims them again only when its own caller waits for a message,
    /// because other consumers may handle them better.
    var requeued: Set<ItemName> = []

    // MARK: Scanning

    var ready = ReadyList()
    /// The messages that were read and not claimed yet, in order.
    var prepared: Deque<MessageNode> = []
    var preparedAt = Duration.zero
    /// The messages that the transaction in progress claims.
    var claiming: [MessageNode] = []
    /// How often the list was forgotten, and how often a part of it was put back.
    var listRevision = ListRevision()
    var isReading = false
    /// The current scan, while the consumer waits for a message.
    var scan: Scan?
    /// Messages that may still be in a folder although they are being claimed, or will be.
    var tried: Set<ItemName> = []
    var scans = 0
    /// Whether the last scan found nothing.
    var didScan = false
    /// Whether a caller needs a scan that does not wait for the first position of the wait queue.
    var needsScan = false
    /// Whether other consumers are idle, so that nothing is claimed until a caller waits for it.
    var yieldsToIdle = false
    var position = Position.outside
    /// The last position, which may still be in the tree.
    var formerPosition: String?
    /// The most messages, and the most bytes, that one of the last nodes read had.
    var largest = (messages: 1, bytes: MessageNode.assumedSize)
    /// Items that an older producer was seen to be still writing.
    var incomplete: Set<String> = []
    var incompleteClearedAt = Duration.zero
    /// When the live consumers were last seen to live.
    var seenActive: [String: Duration] = [:]
    var epoch = SequenceEpoch()
    /// Whether the epoch is unknown or over.
    var needsEpoch = true
    /// How many reads of the epoch have begun, and the last one whose result was adopted.
    var epochReads = (begun: 0, adopted: 0)
    /// The attributes in the tree, once they were read.
    var storedAttributes: QueueAttributes?
    /// Whether consuming was paused when the attributes were read. An unregistered consumer does not know, because
    /// nothing would tell it that the pause has ended.
    var isPaused = false

    // MARK: Transactions

    var settlements: Deque<Settlement> = []
    var isCommitting = false
    /// Whether settlements are being collected for one transaction.
    var isBatching = false
    /// The contents of this consumer's node, and its leases.
    var heldLeases = HeldLeases()
    /// Whether a transaction was abandoned that may have been applied.
    var needsHeldLeases = false
    /// The settlements of that transaction.
    var abandoned: [Settlement] = []
    /// When the last applied transaction was sent, which renewed the leases.
    var renewedAt = Duration.zero
    /// When the leases were last listed, or the first of them was claimed.
    var leasesListedAt = Duration.zero
    /// When the lease timeout was read from the tree.
    var timeoutKnownAt = Duration.zero
    /// Whether the next transaction must renew the leases, and find out which of them still exist.
    var needsRenewal = false
    /// Whether the transaction in progress does that.
    var isRenewing = false
    /// Whether the consumer was silent for most of the lease timeout, and does not know yet which leases still exist.
    var wasSilent = false
    var claimLimit = ClaimLimit()
    var clock = EnsembleClock()
    /// How long the last transaction took.
    var lastTransaction = Duration.zero

    init(_ queue: MessageQueue, _ configuration: QueueConsumer.Configuration, _ iterators: IteratorCount) {
        self.queue = queue
        self.configuration = configuration
        self.iterators = iterators
        bufferLimit = BufferLimit(maximum: configuration.prefetch)
    }

    /// Returns the actions since the last call, in order.
    mutating func takeActions() -> [Action] {
        if actions.isEmpty { return [] }
        defer { actions = [] }
        return actions
    }

    mutating func emit(_ action: Action) { actions.append(action) }

    var registration: Registration? {
        if case .registered(let registration) = membership { registration } else { nil }
    }

    var attributes: QueueAttributes { storedAttributes ?? QueueAttributes() }
    var maximumDeliveries: Int { attributes.maximumDeliveries }

    // MARK: Lifecycle events

    /// Starts with one buffer slot for each handler.
    mutating func expect(handlers: Int) {
        bufferLimit = BufferLimit(maximum: configuration.prefetch, startingWith: handlers)
    }

    /// Records an error of the reader or of a claim that retrying cannot fix. The next caller throws it.
    mutating func failed(_ error: any Error) {
        isPrepared = false
        failure =
            (error as? ZooKeeperError).map { QueueError($0, while: "receiving messages", queue: queue.path) } ?? error
        wake()
    }

    mutating func beginClosing() {
        phase = .closing
        wake()
    }

    /// Ends the time to close. When no server has responded, handlers and settlements are still
    /// waiting, and this tells them.
    ///
    /// - Returns: the leases that the consumer still held.
    mutating func endClosing() -> [Lease] {
        phase = .closed
        let held = Array(leases.values)
        for lease in held { emit(.update(lease, .lost)) }
        emit(.restartRenewal)
        return held
    }

    /// Whether the consumer has neither iterators nor leases, so it need not be in the tree.
    var isUnused: Bool { phase == .open && !iterators.isPositive && leases.isEmpty && !isReading }

    mutating func foldersAreMissing() { isPrepared = false }
    /// - Parameter isAtomic: whether the store applies all operations of a transaction or none.
    mutating func foldersExist(inAtomicStore isAtomic: Bool) { (isPrepared, handlesGroups) = (true, isAtomic) }
}

/// The number of a consumer's iterators. They are created and dropped outside of the actor.
final class IteratorCount: Sendable {
    private let count = Atomic<Int>(0)

    var isPositive: Bool { count.load(ordering: .relaxed) > 0 }

    func increment() { count.wrappingAdd(1, ordering: .relaxed) }

    /// Counts an iterator that was dropped.
    ///
    /// - Returns: whether it was the last one.
    func decrement() -> Bool { count.wrappingSubtract(1, ordering: .relaxed).newValue == 0 }
}

/// The state of the list when a read began, so that an outdated result is recognised.
struct ListRevision: Sendable, Hashable {
    /// How often the list was forgotten.
    var generation = 0
    /// How often a part of the list was put back, to be read again.
    var rereads = 0
}
