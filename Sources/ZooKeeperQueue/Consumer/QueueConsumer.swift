import DequeModule
import Logging
import Synchronization
import ZooKeeper

/// Takes messages from a queue: an `AsyncSequence` of leased messages.
///
/// ```swift
/// for try await message in QueueConsumer(queue) {
///     try await message.process { try await handle($0.payload) }
/// }
/// ```
///
/// It waits without polling when the queue is empty, and goes on by itself after lost connections and expired sessions,
/// with a new registration. The sequence ends when its task is cancelled or the consumer is closed. It throws only what
/// waiting cannot cure: no permission, a queue that is gone, a client that is closed.
///
/// Several tasks may iterate over one consumer; each message goes to one of them. When the last iterator is dropped,
/// what was taken and not handed out goes back to its place.
///
/// A lease lasts as long as the session of the client. Run a ``QueueRecovery`` somewhere: it gives the messages of
/// failed consumers back to the queue.
public actor QueueConsumer {
    enum Phase { case open, closing, closed }

    nonisolated let queue: MessageQueue
    nonisolated let configuration: ConsumerConfiguration
    /// How many iterators there are.
    nonisolated let iterators = Atomic<Int>(0)

    var phase = Phase.open
    var registration: Registration?
    /// The name under which the consumer is about to be registered.
    var halfMade: String?
    /// What is held and not settled, by the names of the messages.
    var leases: [String: Lease] = [:]
    /// What is held and not yet handed out, in order.
    var buffer: Deque<Lease> = []
    /// How many messages may wait in the buffer.
    var bufferLimit: BufferLimit
    /// Messages that this consumer gave back. It takes them again only when its caller asks for one, because other
    /// consumers may handle them better.
    var givenBack: Set<ItemName> = []
    var ready = ReadyList()
    /// How often the list was forgotten.
    var listGeneration = 0
    /// How often a part of it was put back, to be read again.
    var rereads = 0
    /// What is read and not yet claimed, in order.
    var prepared: Deque<ReadyItem> = []
    var preparedAt = Duration.zero
    /// How long the last step took.
    var lastStep = Duration.zero
    /// What a step that is under way claims.
    var claiming: [ReadyItem] = []
    /// What stands in the tree for this consumer.
    var holdings = Holdings()
    /// Whether a step was given up that may have been applied.
    var mustReadHoldings = false
    /// The epoch of the server's numbers, as it was read last.
    var epoch = SequenceEpoch()
    /// Whether the epoch is not known, or over.
    var mustReadEpoch = true
    /// How often a message is delivered before it goes to the dead letters, as the queue's settings in the tree say; `nil` until
    /// they were read.
    var sharedDeliveries: Int??
    var maximumDeliveries: Int { (sharedDeliveries ?? nil) ?? queue.settings.maximumDeliveries }
    /// What stood in the two lists while something is waited for.
    var lists = Lists()
    /// What stands in a list and is claimed already, or will be.
    var tried: Set<ItemName> = []
    /// How many messages, and bytes, the largest of the nodes had that were read last.
    var (messagesPerNode, bytesPerNode) = (1, ReadyItem.assumedSize)
    var claimLimit = ClaimLimit()
    /// Items that are still being written, as far as was seen.
    var unfilled: Set<String> = []
    var unfilledCleared = Duration.zero
    /// When other consumers were last seen to live.
    var seenActive: [String: Duration] = [:]
    var settlements: Deque<Settlement> = []
    var isPrepared = false
    /// How often the reader has begun to look for messages.
    var looks = 0
    /// Whether the last look has found nothing.
    var hasLooked = false
    /// Whether a look was asked for that does not wait in the line.
    var mustLook = false
    /// The place in the line of idle consumers.
    var place: String?
    /// Whether the rights to stand in line are missing.
    var isLineBarred = false
    /// Whether the place was seen to be the first.
    var isFirstInLine = false
    /// Whether others are idle, so that nothing is taken before somebody waits for it.
    var leavesToOthers = false
    /// Wakes the reader while it waits for something to read.
    var lookAgain: AsyncStream<Void>.Continuation?

    // Tasks of the consumer's own. Each is waited for by `close()`, and ends when there is nothing for it to do. They begin
    // at once, on the thread that starts them: for a lone message that saves a tenth of the time.
    var reader: Task<Void, Never>?
    var isReading = false
    var committer: Task<Void, Never>?
    var isCommitting = false
    /// Whether settlements gather that are to go together.
    var isGathering = false
    var sessionWatch: Task<Void, Never>?
    /// Looks after the buffer while messages wait there.
    var overseer: Task<Void, Never>?
    /// Takes the last registration out of the tree.
    var leaving: Task<Void, Never>?
    private var closing: Task<Void, Never>?

    /// What waiting cannot cure, until somebody is told.
    private(set) var failure: (any Error)?
    /// How many have asked for a message and have none yet.
    private var askers = 0
    /// How many have ever asked.
    private var asks = 0
    private var takers: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var nextTaker: UInt64 = 0
    /// Who waits until nothing is held any more.
    private var emptyWaiter: CheckedContinuation<Void, Never>?

    /// Creates a consumer; it registers itself in the tree when it is first asked for a message.
    public init(_ queue: MessageQueue, configuration: ConsumerConfiguration = .init()) {
        self.queue = queue
        self.configuration = configuration
        bufferLimit = BufferLimit(maximum: configuration.prefetch)
    }

    /// Starts with as many places in the buffer as there are handlers.
    func expect(handlers: Int) { bufferLimit = BufferLimit(maximum: configuration.prefetch, startingWith: handlers) }

    /// The most messages that may be held.
    var prefetch: Int {
        let handedOut = leases.count - buffer.count
        if configuration.takesOnDemand { return Swift.max(1, handedOut + askers) }
        return Swift.max(1, Swift.min(configuration.prefetch, handedOut + Swift.max(bufferLimit.value, takers.count)))
    }
    /// How many more may be taken, in a step that ends so many leases.
    func free(endingWith ends: Int = 0) -> Int {
        configuration.takesOnDemand ? askers - buffer.count : prefetch - leases.count + ends
    }
    /// How long a consumer that takes on demand keeps what it has read when nobody asks.
    private static let rest = Duration.seconds(1)

    // MARK: Handing out

    func next(within limit: Duration?) async throws -> QueueMessage? {
        askers += 1
        asks += 1
        var isAsking = true
        defer { if isAsking { askers -= 1 } }
        let end = limit.map { queue.store.now + $0 }
        // A time limit: that nothing comes is no event.
        let timer = limit.map { limit in
            Task { [weak self, store = queue.store] in
                try? await store.sleep(for: limit)
                await self?.wakeTakers()
            }
        }
        defer { timer?.cancel() }
        // With no time to wait, the answer is that of a look that begins now: a watch event may be on its way.
        let neededLook = looks + 1
        while phase == .open, !Task.isCancelled {
            if let lease = nextBuffered() {
                // Before more is taken.
                isAsking = false
                askers -= 1
                commitSoon()
                return QueueMessage(lease: lease, consumer: self)
            }
            if let failure {
                self.failure = nil
                throw failure
            }
            readSoon()
            let hasLooked = hasLooked && looks >= neededLook && prepared.isEmpty && claiming.isEmpty
            // No look is taken while all that may be held is held.
            if let end, end <= queue.store.now, hasLooked || limit != .zero || free() <= 0 { return nil }
            if limit == .zero, looks < neededLook {
                mustLook = true
                lookAgain?.yield()
            }
            await changeOfBuffer()
        }
        return nil
    }

    /// The next message that may be handed out; none while the leases are in doubt.
    private func nextBuffered() -> Lease? {
        guard let lease = buffer.first, lease.state == .held else { return nil }
        buffer.removeFirst()
        bufferLimit.handedOut(after: queue.store.now - lease.takenAt, wasLast: buffer.isEmpty)
        return lease
    }

    private func changeOfBuffer() async {
        let id = nextTaker
        nextTaker += 1
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume()
                } else {
                    takers[id] = continuation
                    // Some messages are taken only when somebody waits for them.
                    leavesToOthers = false
                    readSoon()
                    commitSoon()
                }
            }
        } onCancel: {
            Task { await self.wake(id) }
        }
    }

    /// Whether somebody waits for a message.
    var hasTakers: Bool { !takers.isEmpty }

    private func wake(_ id: UInt64) { takers.removeValue(forKey: id)?.resume() }

    /// Whoever waits for a message looks again.
    func wakeTakers() {
        let waiting = takers
        takers = [:]
        for taker in waiting.values { taker.resume() }
    }

    /// What the reader or a claim could not cure; the next taker throws it.
    func fail(_ error: any Error) {
        isPrepared = false
        failure =
            (error as? ZooKeeperError).map { QueueError($0, while: "taking messages", queue: queue.path) } ?? error
        wakeTakers()
    }

    // MARK: The end

    /// Stops taking messages, gives back what was not handed out, waits until what was handed out is settled, gives
    /// back what is left after `gracePeriod`, and takes the consumer out of the tree.
    ///
    /// What is given back here counts as no delivery: neither its place nor its delivery count changes.
    ///
    /// Iterations end. It is not affected by cancellation; closing again waits for the same end. When no server answers, it
    /// returns five seconds after the grace period at the latest, and leaves the rest to a recovery.
    ///
    /// - Parameter gracePeriod: how long handlers may take. Default: 30 seconds.
    public func close(gracePeriod: Duration = .seconds(30)) async {
        let task =
            closing
            ?? Task {
                phase = .closing
                wakeTakers()
                await withinTime(gracePeriod + configuration.closingTime) { await $0.end(gracePeriod: gracePeriod) }
                phase = .closed
                // No server has answered: handlers and settlements that still wait are told so now.
                for lease in leases.values {
                    lease.update(.lost)
                    lease.giveUpSettling()
                }
            }
        closing = task
        await task.value
    }

    private func end(gracePeriod: Duration) async {
        overseer?.cancel()
        await overseer?.value
        await stopTaking()
        await releaseBuffered()
        await untilEmpty(within: gracePeriod)
        await release(Array(leases.values))
        await leaving?.value
        await deregister()
    }

    /// Waits for `body` up to the limit. After that, the body's calls end at their own deadlines.
    private func withinTime(_ limit: Duration, _ body: @escaping @Sendable (QueueConsumer) async -> Void) async {
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        let work = Task {
            await body(self)
            end.finish()
        }
        let timer = Task { [store = queue.store] in
            // A timer is needed, because no event says that the servers do not answer.
            try? await store.sleep(for: limit)
            end.finish()
        }
        for await _ in ends {}
        timer.cancel()
        work.cancel()
    }

    /// A lease that ZooKeeper refuses to release stays in the buffer while the consumer is open, so that it is handed out here.
    private func releaseEnded(_ lease: Lease) {
        if phase == .open, leases[lease.name.string] === lease, lease.state == .held || lease.state == .inDoubt {
            enqueue(lease)
        } else {
            lease.update(.lost)
        }
    }

    /// Gives leases back uncounted, together and in order, so that the next consumer finds them in order.
    private func release(_ leases: [Lease]) async {
        await withTaskGroup(of: Void.self) { group in
            isGathering = true
            for lease in leases.sorted(by: { $0.name < $1.name }) {
                group.addImmediateTask {
                    await self.insist(on: .release, for: lease)
                    self.releaseEnded(lease)
                }
            }
            isGathering = false
            commitSoon()
        }
    }

    /// A lease has ended.
    func forget(_ lease: Lease) {
        if leases[lease.name.string] === lease { leases[lease.name.string] = nil }
        if leases.isEmpty { becameEmpty() }
    }

    func becameEmpty() {
        emptyWaiter?.resume()
        emptyWaiter = nil
    }

    /// The last iterator is gone: nobody will fetch what is buffered.
    func iteratorEnded() async {
        guard await hasRested(), phase == .open, iterators.load(ordering: .relaxed) == 0 else { return }
        await stopTaking()
        guard phase == .open, iterators.load(ordering: .relaxed) == 0 else { return readSoon() }
        await releaseBuffered()
        await deregisterIfUnused()
    }

    /// Without iterators and leases there is no need to stand in the tree.
    func deregisterIfUnused() async {
        guard isUnused, await hasRested(), isUnused else { return }
        await deregister()
    }

    private var isUnused: Bool {
        phase == .open && iterators.load(ordering: .relaxed) == 0 && leases.isEmpty && !isReading
    }

    /// With messages taken on demand, whoever asks next comes soon, as a rule, and gets what was listed and read for the last
    /// one.
    ///
    /// - Returns: whether nobody came.
    private func hasRested() async -> Bool {
        guard configuration.takesOnDemand else { return true }
        let asksBefore = asks
        try? await queue.store.sleep(for: Self.rest)
        return asks == asksBefore
    }

    func stopTaking() async {
        reader?.cancel()
        await reader?.value
        // What is read or released again must not be overtaken by what comes after it in the list.
        forgetList()
        // A step that is under way may take something.
        await committer?.value
    }

    /// Gives back what waits in the buffer, in its old places.
    func releaseBuffered() async {
        let leases = buffer
        buffer = []
        // What was read comes after it, and must not overtake it.
        forgetList()
        await release(Array(leases))
        forgetList()
    }

    /// Settles what nobody else will settle: tries again until `close()` has no time left.
    func insist(on kind: Settlement.Kind, for lease: Lease) async {
        while true {
            do {
                return try await settle(lease, by: kind)
            } catch let error as QueueError where error.cause?.isPassing == true && phase != .closed {
                await error.cause?.pauseIfRefusedAtOnce(queue.store)
            } catch {
                // Settled or lost; or the session's end will give it to a recovery.
                return
            }
        }
    }

    private func untilEmpty(within gracePeriod: Duration) async {
        guard !leases.isEmpty else { return }
        let timer = Task {
            // A time limit: there is no event to wait for.
            try? await queue.store.sleep(for: gracePeriod)
            becameEmpty()
        }
        await withCheckedContinuation { emptyWaiter = $0 }
        timer.cancel()
        await timer.value
    }
}

// MARK: - The sequence

extension QueueConsumer: AsyncSequence {
    /// Begins to take messages at the first call of `next()`.
    public nonisolated func makeAsyncIterator() -> Iterator { Iterator(place: IteratorPlace(self)) }

    /// Hands out messages to one task.
    public struct Iterator: AsyncIteratorProtocol {
        let place: IteratorPlace

        /// The next message, as soon as there is one.
        ///
        /// - Returns: `nil` when the task is cancelled or the consumer is closed.
        /// - Throws: ``QueueError`` for what waiting cannot cure. The next call tries again.
        public mutating func next() async throws -> QueueMessage? { try await place.consumer.next(within: nil) }

        /// The next message, if one comes within the time.
        ///
        /// - Parameter limit: how long to wait; zero returns as soon as the queue was looked through and had nothing.
        /// - Returns: `nil` when none came, the task is cancelled, or the consumer is closed.
        /// - Throws: as ``next()``.
        public mutating func next(within limit: Duration) async throws -> QueueMessage? {
            try await place.consumer.next(within: Swift.max(.zero, limit))
        }
    }
}

@available(*, unavailable)
extension QueueConsumer.Iterator: Sendable {}

/// Counts an iterator while it lives.
final class IteratorPlace {
    let consumer: QueueConsumer

    init(_ consumer: QueueConsumer) {
        self.consumer = consumer
        consumer.iterators.wrappingAdd(1, ordering: .relaxed)
    }

    deinit {
        let (_, left) = consumer.iterators.wrappingSubtract(1, ordering: .relaxed)
        guard left == 0 else { return }
        let consumer = consumer
        // Not a child of anything, since a deinit cannot wait. A `close()` does the same and waits.
        Task { await consumer.iteratorEnded() }
    }
}
