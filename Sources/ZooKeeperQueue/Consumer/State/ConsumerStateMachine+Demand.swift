import DequeModule
import ZooKeeper

/// The callers that request messages, and the buffer that serves them.
extension ConsumerStateMachine {
    /// A caller's request for a message.
    struct MessageRequest: Sendable {
        /// The scan that must have found nothing before a request without a wait may end with nothing. An earlier scan
        /// may have missed a watch event on its way.
        let neededScan: Int
        /// The deadline of the request; `nil` for a request without a time limit.
        let deadline: Duration?
        let isImmediate: Bool
    }

    enum Response { case message(Lease), failure(any Error), nothing, wait }

    mutating func requested(within limit: Duration?, now: Duration) -> MessageRequest {
        demand += 1
        requests += 1
        return MessageRequest(neededScan: scans + 1, deadline: limit.map { now + $0 }, isImmediate: limit == .zero)
    }

    /// Withdraws a request that received no message. A message that is handed out ends its request.
    mutating func withdrawn() { demand -= 1 }

    /// Returns the response to a request at this moment.
    mutating func answer(_ request: MessageRequest, now: Duration) -> Response {
        guard phase == .open else { return .nothing }
        if isPaused, let deadline = request.deadline, deadline <= now { return .nothing }
        let wasReading = isReading
        if let lease = nextBuffered(now: now) {
            // The demand must decrease before more messages are claimed.
            demand -= 1
            commitIfNeeded(now: now)
            return .message(lease)
        }
        if let failure {
            self.failure = nil
            return .failure(failure)
        }
        readIfNeeded()
        let foundNothing = didScan && scans >= request.neededScan && prepared.isEmpty && claiming.isEmpty
        // No scan begins while the consumer holds as many leases as it may.
        if let deadline = request.deadline, deadline <= now, foundNothing || !request.isImmediate || free() <= 0 {
            return .nothing
        }
        // A reader that starts with this event begins a scan that is late enough.
        let starts = isReading && !wasReading
        if request.isImmediate, !starts, scans < request.neededScan {
            needsScan = true
            emit(.rescan)
        }
        return .wait
    }

    /// Adds a caller that waits from now on. Some messages are claimed only for a waiting caller.
    mutating func waits(_ id: UInt64, now: Duration) {
        waiters.insert(id)
        yieldsToIdle = false
        // The commit comes first, because a claim that finds its messages too old has them listed again.
        commitIfNeeded(now: now)
        readIfNeeded()
    }

    /// Removes a waiting caller whose task was cancelled.
    mutating func cancelled(_ id: UInt64) { waiters.remove(id) }

    /// Wakes all waiting callers, which then check the state again.
    mutating func wake() {
        waiters = []
        emit(.wake)
    }

    // MARK: The buffer

    /// The most messages that the consumer may hold now.
    var prefetch: Int {
        let handedOut = leases.count - buffer.count
        if configuration.pullsOnDemand { return max(1, handedOut + demand) }
        return max(1, min(configuration.prefetch, handedOut + max(bufferLimit.value, waiters.count)))
    }

    /// Returns how many more messages may be claimed, in a transaction that ends this many leases.
    func free(endingWith ends: Int = 0) -> Int {
        configuration.pullsOnDemand ? demand - buffer.count : prefetch - leases.count + ends
    }

    /// Takes the next message that may be handed out. Returns `nil` while the leases are suspended, and during a pause.
    private mutating func nextBuffered(now: Duration) -> Lease? {
        if isPaused { return nil }
        noticeSilence(now: now)
        if wasSilent {
            commitIfNeeded(now: now)
            return nil
        }
        while let lease = buffer.first, lease.state == .held, isExpired(lease, now: now) {
            buffer.removeFirst()
            emit(.expire(lease))
        }
        guard let lease = buffer.first, lease.state == .held else { return nil }
        buffer.removeFirst()
        bufferLimit.handedOut(after: now - lease.claimedAt, wasLast: buffer.isEmpty)
        return lease
    }

    /// Whether a message may have expired, by the ensemble's clock.
    private func isExpired(_ lease: Lease, now: Duration) -> Bool {
        guard let time = lease.envelope.expiresAt, let latest = clock.latest(at: now) else { return false }
        return time <= latest
    }

    /// Puts a lease into the buffer, ahead of less urgent ones.
    mutating func enqueue(_ lease: Lease) {
        guard let last = buffer.last, lease.name < last.name else { return buffer.append(lease) }
        buffer.insert(lease, at: buffer.firstIndex { lease.name < $0.name } ?? buffer.endIndex)
    }

    /// How many more urgent messages the consumer claims although the buffer is full.
    static let maximumUrgent = 8

    /// How many of the messages that were read are more urgent than the last one in the buffer.
    var urgentSlots: Int {
        guard !configuration.pullsOnDemand, let last = buffer.last, let first = prepared.first,
            first.name.priority < last.name.priority, leases.count < configuration.prefetch + Self.maximumUrgent
        else { return 0 }
        return prepared.prefix(Self.maximumUrgent).prefix { $0.name.priority < last.name.priority }.count
    }

    // MARK: Sharing with idle consumers

    /// How often the consumer checks its buffer.
    static let oversightPeriod = Duration.seconds(1)

    /// Whether the buffer must be checked, because messages wait in it.
    var needsOversight: Bool { phase == .open && !buffer.isEmpty && (!configuration.pullsOnDemand || isPaused) }

    /// Whether the first message of the buffer has waited long enough for a check.
    func hasOldMessages(now: Duration) -> Bool {
        guard phase == .open, let oldest = buffer.first else { return false }
        return now - oldest.claimedAt >= Self.oversightPeriod
    }

    /// Whether more urgent messages could be claimed although the buffer is full.
    var hasUrgentSlots: Bool { leases.count < configuration.prefetch + Self.maximumUrgent }

    /// Records that other consumers are idle while messages wait in this buffer.
    ///
    /// - Returns: whether the buffer must be requeued.
    mutating func otherConsumersAreIdle() -> Bool {
        guard waiters.isEmpty else { return false }
        bufferLimit.shrink()
        yieldsToIdle = true
        return true
    }

    /// Makes the reader read the messages next that are more urgent than the last one in the buffer.
    /// The rest of the list stays.
    mutating func listedForUrgent(_ names: [String]) {
        guard let last = buffer.last else { return }
        let known = Set((prepared + claiming).map(\.name))
        let urgent = names.compactMap { name -> ReadyList.Entry? in
            guard let item = ItemName(name, inEpoch: epoch.number), item.priority < last.name.priority,
                !known.contains(item)
            else { return nil }
            return ReadyList.Entry(name: item, isEarlier: false)
        }
        if urgent.isEmpty { return }
        ready.putBack(Array(urgent.sorted().prefix(Self.maximumUrgent)))
        reread([])
        readIfNeeded()
    }
}
