import Logging
import ZooKeeper

extension QueueConsumer {
    /// Ends a lease. Settlements that come while one is under way go together with the next.
    func settle(_ lease: Lease, by kind: Settlement.Kind) async throws {
        try lease.beginSettling()
        // Waited for without a handler for cancellation: an acknowledgement of work that is done is worth its end, and
        // every attempt has the deadline of a call.
        try await withCheckedThrowingContinuation { waiter in
            settlements.append(Settlement(lease: lease, kind: kind, waiter: waiter))
            if committer == nil {
                committer = Task {
                    while !settlements.isEmpty { await commit(nextSettlements()) }
                    committer = nil
                    await deregisterIfUnused()
                }
            }
        }
    }

    /// As many as fit into one multi, which is guarded by one registration.
    private func nextSettlements() -> [Settlement] {
        var batch: [Settlement] = []
        var (count, bytes) = (1, 256)
        while let next = settlements.first, batch.allSatisfy({ $0.lease.registration == next.lease.registration }) {
            let operations = next.operations(queue)
            count += operations.count
            bytes += operations.reduce(0) { $0 + queue.store.size(of: $1) }
            if !batch.isEmpty, count > 1_000 || bytes > queue.store.maximumRequestSize { break }
            batch.append(next)
            settlements.removeFirst()
        }
        return batch
    }

    /// Applies settlements of one registration in one atomic step, only while its session lives (`active` is there):
    /// without that, what a consumer sends after its session has expired could still end a lease that a recovery has
    /// not cleared yet.
    private func commit(_ settlements: [Settlement]) async {
        var batch = settlements
        while let registration = batch.first?.lease.registration {
            do {
                let alive = Operation.check(registration.paths.active)
                _ = try await queue.store.multi([alive] + batch.flatMap { $0.operations(queue) })
                for settlement in batch { succeed(settlement) }
                return
            } catch {
                guard let error = error as? ZooKeeperError else { return fail(batch, error) }
                if error.outcome == .unknown {
                    for settlement in batch { settlement.lease.unresolved.insert(settlement.kind) }
                    // Repeated: what was applied then fails at its lease, one after the other. A call that has waited
                    // for its deadline is not repeated; whoever settles may do so.
                    if error.code != .deadlineExceeded { continue }
                }
                if error.operationIndex == 0, error.code == .noNode {
                    return await sessionHasEnded(registration, batch)
                }
                guard let index = error.operationIndex, let place = Self.place(of: index, in: batch, queue) else {
                    if batch.count > 1, !error.isPassing {
                        // It is about one of them, and does not say which.
                        for settlement in batch { await commit([settlement]) }
                        return
                    }
                    return fail(batch, QueueError(error, while: "settling messages", queue: queue.path))
                }
                refuse(&batch, at: place, error)
            }
        }
    }

    /// One settlement of the batch was refused, and nothing of the batch applied: it is told, and the others go on.
    private func refuse(
        _ batch: inout [Settlement], at place: (settlement: Int, isLease: Bool), _ error: ZooKeeperError
    ) {
        let settlement = batch[place.settlement]
        if place.isLease, error.code == .noNode {
            batch.remove(at: place.settlement)
            leaseIsGone(settlement)
        } else if error.code == .nodeExists, settlement.canTakeAnotherName {
            // A message of that name is there, from before the server's counter began anew.
            batch[place.settlement].extraReturns += 1
        } else {
            batch.remove(at: place.settlement)
            fail([settlement], QueueError(error, while: "settling a message", queue: queue.path))
        }
    }

    private func leaseIsGone(_ settlement: Settlement) {
        let lease = settlement.lease
        // An answer was lost before. The session lives, so nobody else can have taken the lease.
        if lease.unresolved == [settlement.kind] { return succeed(settlement) }
        lease.update(lease.unresolved.isEmpty ? .lost : .settled)
        forget(lease)
        let earlier = QueueError(
            .alreadySettled,
            "The message was settled by an earlier attempt of another kind, whose answer was lost; nothing was changed."
        )
        let isEarlier = !lease.unresolved.isEmpty && !lease.unresolved.contains(settlement.kind)
        settlement.waiter.resume(
            throwing: lease.unresolved.isEmpty ? Lease.lostError : isEarlier ? earlier : Lease.unknownError)
    }

    /// The registration's session has ended, and nothing of the batch was applied. What was sent before without an
    /// answer may have been.
    private func sessionHasEnded(_ registration: Registration, _ batch: [Settlement]) async {
        lose(registration)
        for settlement in batch {
            let lease = settlement.lease
            lease.update(.lost)
            // Still there, it was not ended by the consumer, and no request of an ended session can do it any more.
            if !lease.unresolved.isEmpty, (try? await queue.store.exists(lease.path)) != nil { lease.unresolved = [] }
            fail([settlement], lease.unresolved.isEmpty ? Lease.lostError : Lease.unknownError)
        }
    }

    /// Which settlement an operation of the multi belongs to, and whether it is the one on its lease.
    private static func place(
        of index: Int, in batch: [Settlement], _ queue: MessageQueue
    ) -> (settlement: Int, isLease: Bool)? {
        var first = 1
        for (number, settlement) in batch.enumerated() {
            let count = settlement.operations(queue).count
            if index < first + count { return (number, index == first) }
            first += count
        }
        return nil
    }

    private func succeed(_ settlement: Settlement) {
        settlement.lease.update(.settled)
        forget(settlement.lease)
        if case .giveBack(let reason) = settlement.kind {
            queue.logger.debug(
                "Gave a message back",
                metadata: ["message": "\(settlement.lease.name.string)", "reason": "\(reason ?? "none")"])
        }
        settlement.waiter.resume()
    }

    private func fail(_ settlements: [Settlement], _ error: any Error) {
        for settlement in settlements {
            let lease = settlement.lease
            lease.settlingFailed()
            // However definite the last attempt's failure, an earlier one may have been applied.
            let code = (error as? QueueError)?.code
            let isUnknown = !lease.unresolved.isEmpty && code != .outcomeUnknown
            let unknown = QueueError(
                .outcomeUnknown, "No answer came: the message may be settled as was asked, or still be held.",
                cause: (error as? QueueError)?.cause)
            settlement.waiter.resume(throwing: isUnknown ? unknown : error)
        }
    }
}

extension Settlement {
    /// Whether the message can come back under a name with a higher count.
    fileprivate var canTakeAnotherName: Bool {
        switch kind {
        case .giveBack, .deadLetter: extraReturns < 1_000
        case .acknowledge, .release: false
        }
    }
}
