import DequeModule
import Logging
import Synchronization
import ZooKeeper

/// All state of a consumer, and every decision that follows from it: a value that takes events and emits actions. It
/// never waits, and does no I/O. It depends on nothing else than its events, the states of its leases, and the number
/// of iterators.
///
/// What an event demands of the outside is an ``Action``, which the actor runs after the state has changed. The
/// extensions hold one concern each: demand, scanning, transactions, leases. Only they write the properties; the actor
/// calls events.
struct ConsumerStateMachine: Sendable {
    enum Phase: Sendable { case open, closing, closed }

    /// What the actor does after an event.
    enum Action: Sendable {
        /// Starts the reader.
        case read
        /// Starts the committer, with this transaction first.
        indirect case commit(ConsumerCommit)
        /// Starts to check the buffer.
        case oversee
        /// Wakes the reader while it waits for something to read.
        case rescan
        /// Resumes all waiters, which look at the state again.
        case wake
        /// Tells the caller of a settlement how it ended.
        case resume(SettlementWaiter, Result<Void, any Error>)
        /// Changes a lease, and tells those that watch it.
        case update(Lease, LeaseState)
        /// The lease may be settled again.
        case settlingFailed(Lease)
        /// The consumer holds nothing any more.
        case becameEmpty
        /// The session's changes no longer concern this consumer.
        case stopWatchingSession
        /// The nodes are to be skipped for a while.
        case skip(path: String, SkippedNode.Reason)
        /// The node was claimed, also if it was skipped before.
        case handled(path: String)
        case log(Logger.Level, Logger.Message, Logger.Metadata)
    }

    /// Whether the consumer is in the tree.
    enum Membership: Sendable, Hashable {
        case unregistered
        /// The consumer's node has this name, and its ephemeral node is still to be created.
        case pending(String)
        case registered(Registration)
    }

    /// The consumer's position in the wait queue of idle consumers.
    enum Position: Sendable, Hashable {
        case outside
        case waiting(String)
        /// The position was seen to be the first.
        case first(String)
        /// The rights to wait in line are missing, so that the consumer waits by itself.
        case barred

        var name: String? {
            switch self {
            case .outside, .barred: nil
            case .waiting(let name), .first(let name): name
            }
        }
    }

    /// Used for paths and sizes alone.
    let queue: MessageQueue
    let configuration: ConsumerConfiguration
    let iterators: IteratorCount

    // MARK: Life

    var phase = Phase.open
    /// An error that retrying cannot fix, until a caller is told.
    var failure: (any Error)?
    var membership = Membership.unregistered
    /// Whether the queue's folders were seen to exist.
    var isPrepared = false
    private var actions: [Action] = []

    // MARK: Demand

    /// How many callers have asked for a message and have none yet.
    var demand = 0
    /// How many have ever asked.
    var requests = 0
    /// The callers that wait.
    var waiters: Set<UInt64> = []

    // MARK: Leases

    /// The leases that are held and not settled, by the names of their messages.
    var leases: [String: Lease] = [:]
    /// Those that are not yet handed out, in order.
    var buffer: Deque<Lease> = []
    var bufferLimit: BufferLimit
    /// Messages that this consumer gave back. It takes them again only when its caller asks for one, because other
    /// consumers may handle them better.
    var givenBack: Set<ItemName> = []

    // MARK: Scanning

    var ready = ReadyList()
    /// Messages that were read and are not yet claimed, in order.
    var prepared: Deque<MessageNode> = []
    var preparedAt = Duration.zero
    /// The messages that a transaction under way claims.
    var claiming: [MessageNode] = []
    /// How often the list was forgotten, and a part of it put back.
    var mark = ReadMark()
    var isReading = false
    /// The scan that is under way, while the consumer waits for a message.
    var scan: Scan?
    /// Messages that stand in a folder and are claimed already, or will be.
    var tried: Set<ItemName> = []
    var scans = 0
    /// Whether the last scan has found nothing.
    var didScan = false
    /// Whether a scan was asked for that does not wait in line.
    var needsScan = false
    /// Whether other consumers are idle, so that nothing is claimed before a caller waits for it.
    var yieldsToIdle = false
    var position = Position.outside
    /// How many messages, and bytes, the largest of the nodes had that were read last.
    var largest = (messages: 1, bytes: MessageNode.assumedSize)
    /// Items that an older producer is still writing, as far as was seen.
    var incomplete: Set<String> = []
    var incompleteClearedAt = Duration.zero
    /// When other consumers were last seen to live.
    var seenActive: [String: Duration] = [:]
    var epoch = SequenceEpoch()
    /// Whether the epoch is not known, or over.
    var needsEpoch = true
    /// The setting in the tree, once it was read.
    var sharedDeliveries: Int??

    // MARK: Transactions

    var settlements: Deque<Settlement> = []
    var isCommitting = false
    /// Whether settlements gather that are to go together.
    var isGathering = false
    /// What stands in the tree for this consumer.
    var holdings = Holdings()
    /// Whether a transaction was given up that may have been applied.
    var needsHoldings = false
    var claimLimit = ClaimLimit()
    /// How long the last transaction took.
    var lastTransaction = Duration.zero

    init(_ queue: MessageQueue, _ configuration: ConsumerConfiguration, _ iterators: IteratorCount) {
        self.queue = queue
        self.configuration = configuration
        self.iterators = iterators
        bufferLimit = BufferLimit(maximum: configuration.prefetch)
    }

    /// The actions since the last call, in order.
    mutating func takeActions() -> [Action] {
        if actions.isEmpty { return [] }
        defer { actions = [] }
        return actions
    }

    mutating func emit(_ action: Action) { actions.append(action) }

    var registration: Registration? {
        if case .registered(let registration) = membership { registration } else { nil }
    }
    var maximumDeliveries: Int { (sharedDeliveries ?? nil) ?? queue.settings.maximumDeliveries }

    // MARK: Events of its life

    /// Starts with as many places in the buffer as there are handlers.
    mutating func expect(handlers: Int) {
        bufferLimit = BufferLimit(maximum: configuration.prefetch, startingWith: handlers)
    }

    /// The reader or a claim has met an error that retrying cannot fix. The next caller throws it.
    mutating func failed(_ error: any Error) {
        isPrepared = false
        failure =
            (error as? ZooKeeperError).map { QueueError($0, while: "taking messages", queue: queue.path) } ?? error
        wake()
    }

    mutating func beginClosing() {
        phase = .closing
        wake()
    }

    /// The time to close is over. When no server has answered, handlers and settlements still wait: they are told now.
    ///
    /// - Returns: the leases that the consumer still held.
    mutating func endClosing() -> [Lease] {
        phase = .closed
        let held = Array(leases.values)
        for lease in held { emit(.update(lease, .lost)) }
        return held
    }

    /// Without iterators and leases there is no need to stand in the tree.
    var isUnused: Bool { phase == .open && !iterators.isPositive && leases.isEmpty && !isReading }

    mutating func foldersAreMissing() { isPrepared = false }
    mutating func foldersExist() { isPrepared = true }
}

/// How many iterators a consumer has. They come and go outside of the actor.
final class IteratorCount: Sendable {
    private let count = Atomic<Int>(0)

    var isPositive: Bool { count.load(ordering: .relaxed) > 0 }

    func increment() { count.wrappingAdd(1, ordering: .relaxed) }

    /// - Returns: whether it was the last one.
    func decrement() -> Bool { count.wrappingSubtract(1, ordering: .relaxed).newValue == 0 }
}

/// What was listed when a read began, so that its result is not mistaken for a later one's.
struct ReadMark: Sendable, Hashable {
    /// How often the list was forgotten.
    var generation = 0
    /// How often a part of it was put back, to be read again.
    var rereads = 0
}
