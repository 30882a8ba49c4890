import HeapModule

/// The callers that wait for sends, their deadlines, and the results of sends without a waiting caller: a value. Whatever a
/// caller must be told is returned as an ``Answer``.
struct PendingSends<Waiter: Sendable>: Sendable {
    /// What a caller is told.
    struct Answer: Sendable {
        let waiter: Waiter
        let result: Result<[SendReceipt], any Error>
    }

    private struct Send {
        var receipts: [SendReceipt?]
        let bytes: Int
        var remaining: Int
        var error: (any Error)?
        var waiter: Waiter?
        /// By the store's clock.
        var deadline: Duration
        /// Whether a caller was told that the outcome is unknown. Such a send goes on, whatever else happens.
        var isUnknown = false
    }

    private struct Deadline: Comparable {
        let time: Duration
        let send: SendID
        static func < (a: Deadline, b: Deadline) -> Bool { (a.time, a.send.number) < (b.time, b.send.number) }
    }

    private var sends: [SendID: Send] = [:]
    /// The deadlines of sends that have a waiter, and of some that no longer have one.
    private var deadlines: Heap<Deadline> = []
    /// Results that nobody has fetched, oldest first, bounded.
    private var unclaimed: [SendID] = []
    private static var maximumUnclaimed: Int { 1_000 }
    private var next: UInt64 = 1

    /// Messages whose sends have no result yet, and their bytes.
    private(set) var messages = 0
    private(set) var bytes = 0
    /// How many sends have a waiter.
    private(set) var waiters = 0

    /// A number for a send of so many messages.
    mutating func add(count: Int, bytes: Int, deadline: Duration, waiter: Waiter) -> SendID {
        defer { next += 1 }
        let id = SendID(number: next)
        sends[id] = Send(
            receipts: .init(repeating: nil, count: count), bytes: bytes, remaining: count, waiter: waiter,
            deadline: deadline)
        messages += count
        self.bytes += bytes
        waiters += 1
        insert(Deadline(time: deadline, send: id))
        return id
    }

    /// One message of a send has its result.
    mutating func finish(_ id: SendID, index: Int, with result: Result<SendReceipt, any Error>) -> Answer? {
        // In place: a copy of the receipts for each of them would be much.
        guard let place = sends.index(forKey: id) else { return nil }
        sends.values[place].remaining -= 1
        switch result {
        case .success(let receipt): sends.values[place].receipts[index] = receipt
        case .failure(let error): sends.values[place].error = sends.values[place].error ?? error
        }
        return sends.values[place].remaining == 0 ? conclude(at: place) : nil
    }

    /// Fails a send as a whole.
    mutating func fail(_ id: SendID, with error: any Error) -> Answer? {
        guard let place = sends.index(forKey: id), sends.values[place].remaining > 0 else { return nil }
        sends.values[place].remaining = 0
        sends.values[place].error = error
        return conclude(at: place)
    }

    /// How many messages a send has; `nil` when no caller waits for it.
    func awaitedCount(_ id: SendID) -> Int? {
        guard let send = sends[id], send.waiter != nil else { return nil }
        return send.receipts.count
    }

    /// Whether no message of the send has a result, and no caller was told that its outcome is unknown.
    func isUntouched(_ id: SendID) -> Bool {
        guard let send = sends[id] else { return false }
        return send.remaining == send.receipts.count && !send.isUnknown
    }

    /// The waiter goes, with an error; the send itself goes on.
    mutating func detach(_ id: SendID, with error: any Error) -> Answer? {
        guard let waiter = sends[id]?.waiter else { return nil }
        sends[id]?.waiter = nil
        sends[id]?.isUnknown = true
        waiters -= 1
        return Answer(waiter: waiter, result: .failure(error))
    }

    /// Waits again for a send whose waiter has gone.
    ///
    /// - Returns: the answer, when the result is known.
    mutating func reattach(_ id: SendID, deadline: Duration, waiter: Waiter) -> Answer? {
        guard let place = sends.index(forKey: id), sends.values[place].waiter == nil else {
            let error = QueueError(.notFound, "No send of this number waits to be repeated.")
            return Answer(waiter: waiter, result: .failure(error))
        }
        sends.values[place].waiter = waiter
        sends.values[place].deadline = deadline
        waiters += 1
        if sends.values[place].remaining == 0 {
            unclaimed.removeAll { $0 == id }
            return settle(at: place)
        }
        insert(Deadline(time: deadline, send: id))
        return nil
    }

    private mutating func conclude(at place: Dictionary<SendID, Send>.Index) -> Answer? {
        messages -= sends.values[place].receipts.count
        bytes -= sends.values[place].bytes
        if sends.values[place].waiter != nil { return settle(at: place) }
        unclaimed.append(sends[place].key)
        if unclaimed.count > Self.maximumUnclaimed { sends[unclaimed.removeFirst()] = nil }
        return nil
    }

    /// Answers the waiter of a send that has a result.
    private mutating func settle(at place: Dictionary<SendID, Send>.Index) -> Answer? {
        let send = sends.remove(at: place).value
        guard let waiter = send.waiter else { return nil }
        waiters -= 1
        return Answer(
            waiter: waiter, result: send.error.map { .failure($0) } ?? .success(send.receipts.compactMap { $0 }))
    }

    // MARK: Deadlines

    /// The earliest deadline of a waiter.
    mutating func nextDeadline() -> Duration? {
        while let first = deadlines.min {
            if isAwaited(first) { return first.time }
            deadlines.removeMin()
        }
        return nil
    }

    /// Returns the sends whose waiters' deadlines have passed, each once.
    mutating func expired(at now: Duration) -> [SendID] {
        var expired: [SendID] = []
        while let next = nextDeadline(), next <= now { expired.append(deadlines.removeMin().send) }
        return expired
    }

    private mutating func insert(_ deadline: Deadline) {
        deadlines.insert(deadline)
        // Most sends end long before their deadline, and must not be kept until then.
        guard deadlines.count > 2 * sends.count + 64 else { return }
        deadlines = Heap(deadlines.unordered.filter { isAwaited($0) })
    }

    private func isAwaited(_ deadline: Deadline) -> Bool {
        guard let send = sends[deadline.send] else { return false }
        return send.waiter != nil && send.deadline == deadline.time
    }
}
