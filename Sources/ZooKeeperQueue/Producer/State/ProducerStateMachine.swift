import DequeModule
import Logging
import ZooKeeper

/// The whole state of a producer, and every decision that follows from it: a value that takes events and emits actions.
///
/// It never waits and does no I/O. Sent messages wait in the producer's sequence, and ``flush(now:)`` turns them into
/// batches that are sent at once. Everything that later batches must wait for is maintenance: the actor asks for one
/// step after the other, carries it out, and reports the result.
///
/// Each extension covers one concern: flushing, maintenance, failures, capacity. Only they change the properties; the
/// actor calls events. A `Waiter` is the value that the actor resumes: a continuation, or a number in a test.
struct ProducerStateMachine<Waiter: Sendable>: Sendable {
    enum Phase: Sendable { case open, closed }

    /// What the actor does after an event.
    enum Action: Sendable {
        /// Starts a task that sends the batch for the first time. Boxed, because the plan is large
        /// and most actions are small.
        indirect case send(BatchTransaction)
        /// Starts the task that carries out the maintenance steps.
        case maintain
        /// Resumes the caller of a send with its result.
        case resume(Waiter, Result<[SendReceipt], any Error>)
        /// Calls ``deadlinePassed(now:)`` at this time, by the store's clock, instead of at the time
        /// that was requested before.
        case wake(at: Duration)
        /// The producer is closed, and no message waits or is in flight.
        case becameIdle
        case log(Logger.Level, Logger.Message, Logger.Metadata)
    }

    /// The producer's node in the tree, whose version counts the batches.
    enum Node: Sendable, Hashable {
        /// There is no node. A former one that no longer counts may still be in the tree.
        case missing(former: String?)
        /// A node with this name is being created. The name stays the same until the node certainly exists, because a
        /// lost reply must not leave a second node behind.
        case creating(String, former: String?)
        case open(String)

        /// The name of the node that counts the batches.
        var name: String? { if case .open(let name) = self { name } else { nil } }

        /// The name of the node in the tree, apart from a node that is being created.
        var existing: String? {
            switch self {
            case .missing(let former), .creating(_, let former): former
            case .open(let name): name
            }
        }
    }

    /// Whether the server has sequence numbers left for messages, in this epoch.
    enum SequenceNumbers: Sendable { case available, refused, exhausted }

    /// Used only for paths, sizes and settings.
    let queue: MessageQueue
    let configuration: QueueProducer.Configuration

    // MARK: Lifecycle

    var phase = Phase.open
    /// Whether the queue's folders are known to exist.
    var isPrepared = false
    private var actions: Deque<Action> = []

    // MARK: Sends

    var pending = PendingSends<Waiter>()
    /// When the timer fires that ends the sends whose deadlines have passed. One timer serves all of them.
    private var timer: Duration?

    // MARK: Batches

    var sequence: ProducerSequence
    var node = Node.missing(former: nil)
    /// How many batches are in flight for the first time.
    var inFlight = 0
    var packer: BatchPacker
    /// The epoch of the sequence numbers, as last read.
    var epoch = SequenceEpoch()
    /// Whether the epoch must be read before anything is sent.
    var needsEpoch = true
    /// Whether sending was paused when the settings were read.
    var isPaused = false
    var sequenceNumbers = SequenceNumbers.available
    var deduplication = Deduplication.unused
    var clock = EnsembleClock()
    /// Whether a message that is not stored yet may have a delay, or expire after a time.
    var hasDelays = false
    /// The sends with a message whose delivery and expiry can be compared only by the ensemble's clock, which was not
    /// known when they were added.
    var uncheckedSends: Set<UnresolvedSend> = []

    var groups = GroupMemory()

    // MARK: Maintenance and failures

    var maintenance: Maintenance?
    /// The last definite failure since a batch was stored. It explains why a waiting send was not sent.
    var lastFailure: ZooKeeperError?

    // MARK: Capacity

    /// The credit for storing messages in a queue with a capacity.
    var budget = CapacityBudget()
    /// Why waiting sends are not admitted; `nil` while they are.
    var capacityError: QueueError?

    init(_ queue: MessageQueue, _ configuration: QueueProducer.Configuration) {
        self.queue = queue
        self.configuration = configuration
        sequence = ProducerSequence(
            maximumBytes: queue.store.maximumRequestSize - 64,
            maximumOperations: BatchTransaction.maximumEntryOperations,
            minimumBatch: configuration.minimumBatch)
        packer = BatchPacker(maximumBytes: queue.store.maximumRequestSize / 2)
    }

    /// Returns the next action, in the order of the events.
    mutating func nextAction() -> Action? { actions.popFirst() }

    mutating func emit(_ action: Action) { actions.append(action) }

    // MARK: Events: sends and their callers

    /// Checks whether a caller may send `count` messages.
    ///
    /// - Throws: ``QueueError/Code/closed`` when the producer is closed, ``QueueError/Code/overloaded`` when too many
    ///   messages or bytes wait in it.
    func accept(_ count: Int) throws {
        if phase == .closed { throw QueueError(.closed, "The producer is closed. Create another one.") }
        guard count > 0,
            pending.messages >= max(1, configuration.maximumQueuedSends)
                || pending.bytes >= max(1, configuration.maximumQueuedBytes)
        else { return }
        throw QueueError(
            .overloaded,
            "Not sent: \(pending.messages) messages with \(pending.bytes) bytes are already waiting in the producer. "
                + "Wait until earlier sends return, or raise maximumQueuedSends or maximumQueuedBytes.")
    }

    /// Adds the messages of a caller, which waits.
    mutating func send(_ messages: [EncodedMessage], deadline: Duration, waiter: Waiter, now: Duration)
        -> UnresolvedSend
    {
        let bytes = messages.reduce(0) { $0 + $1.data.count }
        let id = pending.add(count: messages.count, bytes: bytes, deadline: deadline, waiter: waiter)
        if messages.contains(where: { $0.id != nil }) { deduplication.becomesUsed() }
        if messages.contains(where: { $0.needsClock }) { hasDelays = true }
        let entries = messages.enumerated().map { ProducerSequence.Entry(send: id, index: $0, $1) }
        if messages.contains(where: { $0.needsComparison }) {
            if needsClock(at: now) {
                uncheckedSends.insert(id)
            } else if entries.contains(where: { $0.expiresBeforeDelivery(by: clock, now: now) }) {
                resume(pending.fail(id, with: MessageEncoder.expiresTooEarly))
                return id
            }
        }
        // No transaction is sent whose epoch check would reveal the end of a pause.
        if isPaused { needsEpoch = true }
        sequence.append(entries)
        flush(now: now)
        watch(deadline)
        return id
    }

    /// Lets a caller wait again for a send whose outcome was unknown.
    mutating func waitAgain(for id: UnresolvedSend, deadline: Duration, waiter: Waiter, now: Duration) {
        let resumption = pending.reattach(id, deadline: deadline, waiter: waiter)
        resume(resumption)
        flush(now: now)
        if resumption == nil { watch(deadline) }
    }

    /// Handles the cancellation of a send's caller.
    mutating func cancelled(_ id: UnresolvedSend) {
        stopWaiting(for: id, notSent: CancellationError(), "The task was cancelled while its messages were in flight")
    }

    /// Handles the timer.
    mutating func deadlinePassed(now: Duration) {
        timer = nil
        let notSent = notSent
        for id in pending.expired(at: now) {
            stopWaiting(for: id, notSent: notSent, "The timeout passed while the messages were in flight")
        }
        if let next = pending.nextDeadline() { watch(next) }
    }

    /// Ends the wait for a send. Withdraws the send if none of it was sent. Otherwise the send continues, because later
    /// messages must not overtake it.
    private mutating func stopWaiting(for id: UnresolvedSend, notSent: any Error, _ reason: String) {
        guard let count = pending.awaitedCount(id) else { return }
        if pending.isUntouched(id), sequence.isWaiting(id) {
            sequence.withdraw(id, count: count)
            resume(pending.fail(id, with: notSent))
        } else {
            resume(
                pending.detach(
                    id,
                    with: QueueError(
                        .outcomeUnknown,
                        "\(reason), so they may or may not be stored. Call resume(_:) to wait for the outcome.",
                        unresolvedSend: id)))
        }
    }

    /// The error for a send that did not begin in time. Both the error and the cause that it
    /// names are certain: nothing of the send is stored.
    private var notSent: QueueError {
        if sequence.isStuck, let capacityError { return capacityError }
        return QueueError(
            .timedOut,
            "Not sent: the send timed out while it was waiting. Nothing is stored, so it is "
                + "safe to send it again.",
            cause: lastFailure)
    }

    /// Ensures that the timer fires no later than this deadline. Firing early does no harm.
    private mutating func watch(_ deadline: Duration) {
        if let timer, timer <= deadline { return }
        timer = deadline
        emit(.wake(at: deadline))
    }

    mutating func resume(_ resumption: PendingSends<Waiter>.Resumption?) {
        if let resumption { emit(.resume(resumption.waiter, resumption.result)) }
    }

    // MARK: Events: closing

    /// Accepts no further sends.
    ///
    /// - Returns: whether a message waits or is in flight, so that ``Action/becameIdle`` will follow.
    mutating func close() -> Bool {
        phase = .closed
        return !isIdle
    }

    /// Ends the producer, after the timer was stopped and all sends have ended.
    ///
    /// - Returns: the name of the node to remove from the tree.
    mutating func leave() -> String? {
        timer = nil
        defer {
            // A recovery removes the node that may have been created.
            if case .creating(let name, _) = node {
                node = .creating(name, former: nil)
            } else {
                node = .missing(former: nil)
            }
        }
        return node.existing
    }

    private var isIdle: Bool { sequence.isEmpty && inFlight == 0 && maintenance == nil }

    mutating func notifyIfIdle() { if phase == .closed, isIdle { emit(.becameIdle) } }
}
