/// Who waits for which send, and the results of sends for which nobody waits any more.
struct PendingSends {
    typealias Waiter = CheckedContinuation<[SendReceipt], any Error>

    private struct Send {
        var receipts: [SendReceipt?]
        var remaining: Int
        var error: (any Error)?
        var waiter: Waiter?
    }

    private var sends: [SendID: Send] = [:]
    /// Results that nobody has fetched, oldest first, bounded.
    private var unclaimed: [SendID] = []
    private static let maximumUnclaimed = 1_000
    private var next: UInt64 = 1

    /// A number for a send of so many messages.
    mutating func add(count: Int, waiter: Waiter) -> SendID {
        defer { next += 1 }
        let id = SendID(number: next)
        sends[id] = Send(receipts: .init(repeating: nil, count: count), remaining: count, waiter: waiter)
        return id
    }

    /// One message of a send has its result.
    mutating func finish(_ id: SendID, index: Int, with result: Result<SendReceipt, any Error>) {
        // In place: a copy of the receipts for each of them would be much.
        guard let place = sends.index(forKey: id) else { return }
        sends.values[place].remaining -= 1
        switch result {
        case .success(let receipt): sends.values[place].receipts[index] = receipt
        case .failure(let error): sends.values[place].error = sends.values[place].error ?? error
        }
        if sends.values[place].remaining == 0 { settle(id, sends.values[place]) }
    }

    /// The waiter goes, with an error; the send itself goes on.
    mutating func detach(_ id: SendID, with error: any Error) {
        guard let waiter = sends[id]?.waiter else { return }
        sends[id]?.waiter = nil
        waiter.resume(throwing: error)
    }

    /// Waits again for a send whose waiter has gone. Resumes at once when its result is known.
    mutating func reattach(_ id: SendID, waiter: Waiter) {
        guard var send = sends[id], send.waiter == nil else {
            waiter.resume(throwing: QueueError(.notFound, "No send of this number waits to be repeated."))
            return
        }
        send.waiter = waiter
        sends[id] = send
        if send.remaining == 0 {
            unclaimed.removeAll { $0 == id }
            settle(id, send)
        }
    }

    private mutating func settle(_ id: SendID, _ send: Send) {
        guard let waiter = send.waiter else {
            unclaimed.append(id)
            if unclaimed.count > Self.maximumUnclaimed { sends[unclaimed.removeFirst()] = nil }
            return
        }
        sends[id] = nil
        if let error = send.error {
            waiter.resume(throwing: error)
        } else {
            waiter.resume(returning: send.receipts.compactMap { $0 })
        }
    }
}
