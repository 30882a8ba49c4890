import HeapModule

/// The waiting callers of sends, their deadlines, and the results of sends without a waiting caller: a value. A method
/// that concludes a caller's wait returns a ``Resumption``.
struct PendingSends<Waiter: Sendable>: Sendable {
    /// The result to resume a waiting caller with.
    struct Resumption: Sendable {
        let waiter: Waiter
        let result: Result<[SendReceipt], any Error>
    }

    private struct Send {
        var receipts: [SendReceipt?]
        let bytes: Int
        var remaining: Int
        var error: (any Error)?
        var waiter: Waiter?
        /// The caller's deadline, by the store's clock.
        var deadline: Duration
        /// Whether a caller was told that the outcome is unknown. Such a send continues in any case.
        var isUnknown = false
    }

    private struct Deadline: Comparable {
        let time: Duration
        let send: UnresolvedSend
        static func < (a: Deadline, b: Deadline) -> Bool { (a.time, a.send.number) < (b.time, b.send.number) }
    }

    private var sends: [UnresolvedSend: Send] = [:]
    /// The deadlines of all sends with a waiter, and of some sends that no longer have one.
    private var deadlines: Heap<Deadline> = []
    /// The sends with a result but without a waiter, oldest first. Their number is limited.
    private var unclaimed: [UnresolvedSend] = []
    private static var maximumUnclaimed: Int { 1_000 }
    private var next: UInt64 = 1

    /// The number of messages whose sends have no result yet, and their bytes.
    private(set) var messages = 0
    private(set) var bytes = 0
    /// How many sends have a waiter.
    private(set) var waiters = 0

    /// Adds a send of `count` messages, and returns its number.
    mutating func add(count: Int, bytes: Int, deadline: Duration, waiter: Waiter) -> UnresolvedSend {
        defer { next += 1 }
        let id = UnresolvedSend(number: next)
        sends[id] = Send(
            receipts: .init(repeating: nil, count: count), bytes: bytes, remaining: count, waiter: waiter,
            deadline: deadline)
        messages += count
        self.bytes += bytes
        waiters += 1
        insert(Deadline(time: deadline, send: id))
        return id
    }

    /// Records the result of one message of a send.
    mutating func finish(_ id: UnresolvedSend, index: Int, with result: Result<SendReceipt, any Error>) -> Resumption? {
        // Changed in place, because copying the receipts for each message would be expensive.
        guard let slot = sends.index(forKey: id) else { return nil }
        sends.values[slot].remaining -= 1
        switch result {
        case .success(let receipt): sends.values[slot].receipts[index] = receipt
        case .failure(let error): sends.values[slot].error = sends.values[slot].error ?? error
        }
        return sends.values[slot].remaining == 0 ? conclude(at: slot) : nil
    }

    /// Fails a send as a whole.
    mutating func fail(_ id: UnresolvedSend, with error: any Error) -> Resumption? {
        guard let slot = sends.index(forKey: id), sends.values[slot].remaining > 0 else { return nil }
        sends.values[slot].remaining = 0
        sends.values[slot].error = error
        return conclude(at: slot)
    }

    /// Returns the number of messages of a send; `nil` when no caller waits for it.
    func awaitedCount(_ id: UnresolvedSend) -> Int? {
        guard let send = sends[id], send.waiter != nil else { return nil }
        return send.receipts.count
    }

    /// Whether no message of the send has a result, and no caller was told that its outcome is unknown.
    func isUntouched(_ id: UnresolvedSend) -> Bool {
        guard let send = sends[id] else { return false }
        return send.remaining == send.receipts.count && !send.isUnknown
    }

    /// Ends the caller's wait with an error. The send itself continues.
    mutating func detach(_ id: UnresolvedSend, with error: any Error) -> Resumption? {
        guard let waiter = sends[id]?.waiter else { return nil }
        sends[id]?.waiter = nil
        sends[id]?.isUnknown = true
        waiters -= 1
        return Resumption(waiter: waiter, result: .failure(error))
    }

    /// Waits again for a send that no longer has a waiter.
    ///
    /// - Returns: the resumption, when the result is already known.
    mutating func reattach(_ id: UnresolvedSend, deadline: Duration, waiter: Waiter) -> Resumption? {
        guard let slot = sends.index(forKey: id), sends.values[slot].waiter == nil else {
            let error = QueueError(
                .notFound,
                "The producer has no such unresolved send. Its result was already returned or discarded, or it belongs "
                    + "to another producer.")
            return Resumption(waiter: waiter, result: .failure(error))
        }
        sends.values[slot].waiter = waiter
        sends.values[slot].deadline = deadline
        waiters += 1
        if sends.values[slot].remaining == 0 {
            unclaimed.removeAll { $0 == id }
            return settle(at: slot)
        }
        insert(Deadline(time: deadline, send: id))
        return nil
    }

    private mutating func conclude(at slot: Dictionary<UnresolvedSend, Send>.Index) -> Resumption? {
        messages -= sends.values[slot].receipts.count
        bytes -= sends.values[slot].bytes
        if sends.values[slot].waiter != nil { return settle(at: slot) }
        unclaimed.append(sends[slot].key)
        if unclaimed.count > Self.maximumUnclaimed { sends[unclaimed.removeFirst()] = nil }
        return nil
    }

    /// Resumes the waiter of a send that has a result.
    private mutating func settle(at slot: Dictionary<UnresolvedSend, Send>.Index) -> Resumption? {
        let send = sends.remove(at: slot).value
        guard let waiter = send.waiter else { return nil }
        waiters -= 1
        return Resumption(
            waiter: waiter, result: send.error.map { .failure($0) } ?? .success(send.receipts.compactMap { $0 }))
    }

    // MARK: Deadlines

    /// Returns the earliest deadline of a waiter.
    mutating func nextDeadline() -> Duration? {
        while let first = deadlines.min {
            if isAwaited(first) { return first.time }
            deadlines.removeMin()
        }
        return nil
    }

    /// Returns the sends whose waiters' deadlines have passed, each once.
    mutating func expired(at now: Duration) -> [UnresolvedSend] {
        var expired: [UnresolvedSend] = []
        while let next = nextDeadline(), next <= now { expired.append(deadlines.removeMin().send) }
        return expired
    }

    private mutating func insert(_ deadline: Deadline) {
        deadlines.insert(deadline)
        // Most sends end long before their deadlines, and their entries must not stay until then.
        guard deadlines.count > 2 * sends.count + 64 else { return }
        deadlines = Heap(deadlines.unordered.filter { isAwaited($0) })
    }

    private func isAwaited(_ deadline: Deadline) -> Bool {
        guard let send = sends[deadline.send] else { return false }
        return send.waiter != nil && send.deadline == deadline.time
    }
}
