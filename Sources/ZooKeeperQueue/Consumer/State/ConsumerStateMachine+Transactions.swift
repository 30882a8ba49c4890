import DequeModule
import Logging
import ZooKeeper

/// The contents of a transaction, and the meaning of its outcome.
extension ConsumerStateMachine {
    // MARK: Events

    /// Adds a caller's settlement. Settlements that arrive during a transaction go out together in the next one.
    mutating func settles(_ settlement: Settlement, now: Duration) {
        var settlement = settlement
        if case .requeue(let reason, let delay) = settlement.kind {
            if delay > .zero { settlement.due = clock.latest(at: now)?.advanced(by: delay) }
            if let reason, let time = clock.earliest(at: now) {
                settlement.failure = DeliveryFailure(
                    reason: reason, consumer: settlement.lease.registration.name, failedAt: time)
            }
        }
        settlements.append(settlement)
        commitIfNeeded(now: now)
    }

    mutating func batchingBegins() { isBatching = true }

    mutating func batchingEnds(now: Duration) {
        isBatching = false
        commitIfNeeded(now: now)
    }

    /// Starts the committer, unless it is running or there is nothing to settle or claim.
    mutating func commitIfNeeded(now: Duration) {
        guard !isCommitting, !isBatching, let first = nextTransaction(now: now) else { return }
        isCommitting = true
        emit(.commit(first))
    }

    /// Handles the end of a transaction, as a whole or in parts.
    mutating func transactionEnded() {
        claiming = []
        isRenewing = false
        wake()
    }

    /// Returns the committer's next transaction; `nil` when there is nothing to do, and the committer ends.
    mutating func nextCommit(now: Duration) -> ConsumerTransaction? {
        let next = nextTransaction(now: now)
        isCommitting = next != nil
        return next
    }

    // MARK: The next transaction

    /// Takes the waiting settlements of one registration, and claims for the leases that they free.
    private mutating func nextTransaction(now: Duration) -> ConsumerTransaction? {
        // The fixed part of the multi: the consumer's own operations, the check of the epoch, and the
        // position in the wait queue.
        var (count, bytes) = (4, 1_024 + heldLeases.progress.encoded().count)
        let ends = nextSettlements(&count, &bytes)
        guard let registration = ends.first?.lease.registration ?? registration else { return nil }
        var commit = ConsumerTransaction(
            registration: registration, epoch: epoch, maximumDeliveries: maximumDeliveries, settlements: ends)
        if registration == self.registration {
            commit.claims = nextClaims(ends, count, bytes, now: now)
            // With a single message, the consumer remains the first in the wait queue, until there is a message that
            // it cannot hand out at once.
            if commit.claims.count > 1 || !prepared.isEmpty || !ready.isEmpty(now: now) {
                commit.position = position.name
            }
        }
        if needsRenewal, registration == self.registration, nextRenewal != nil {
            (commit.renews, isRenewing, needsRenewal) = (true, true, false)
        }
        claiming = commit.claims
        if !claiming.isEmpty { readIfNeeded() }
        return commit.isEmpty ? nil : commit
    }

    /// Takes as many settlements as fit into one multi. They belong to one registration, because
    /// the multi checks only one.
    private mutating func nextSettlements(_ count: inout Int, _ bytes: inout Int) -> [Settlement] {
        var batch: [Settlement] = []
        while let next = settlements.first {
            if next.lease.state == .settled {
                // An earlier attempt has settled it, whose reply arrived after its caller
                // was told that there was none.
                settlements.removeFirst()
                leaseIsGone(next)
                continue
            }
            guard batch.last.map({ $0.lease.registration == next.lease.registration }) ?? true else { break }
            // The lease of a batch is checked, and deleted with the batch's last message.
            let ends = Array(
                repeating: ZooKeeperOperation.delete(next.lease.path), count: next.lease.index == nil ? 1 : 2)
            let operations = ends + next.consequences(queue, epoch, maximumDeliveries: maximumDeliveries)
            let size = operations.reduce(0) { $0 + queue.store.size(of: $1) }
            let fits =
                count + operations.count <= Request.maximumOperations
                && bytes + size <= queue.store.maximumRequestSize
            if !batch.isEmpty, !fits { break }
            count += operations.count
            bytes += size
            batch.append(next)
            settlements.removeFirst()
        }
        return batch
    }

    /// Takes the next messages to claim.
    ///
    /// Messages are claimed many at a time: together with settlements, when the buffer is empty, or when half of the
    /// leases that the consumer may hold are free. More urgent messages are claimed at once.
    private mutating func nextClaims(
        _ ends: [Settlement], _ operations: Int, _ used: Int, now: Duration
    ) -> [MessageNode] {
        if yieldsToIdle, waiters.isEmpty { return [] }
        guard let registration, phase == .open, failure == nil, !isPaused, iterators.isPositive,
            let first = prepared.first
        else { return [] }
        var slots = max(free(endingWith: ends.count), urgentSlots)
        guard slots > 0, !ends.isEmpty || buffer.isEmpty || slots >= (prefetch + 1) / 2 || urgentSlots > 0 else {
            return []
        }
        if mustRenew, leases.isEmpty, ends.isEmpty {
            // The reader registers again before it reads more messages.
            forgetList()
            readIfNeeded()
            return []
        }
        if mustRenew || isClaimedAlone(first.name) {
            guard buffer.isEmpty, !waiters.isEmpty else { return [] }
            slots = 1
        }
        guard now - preparedAt <= max(.seconds(1), lastTransaction * 3) else {
            // A message of higher priority may have arrived.
            forgetList()
            readIfNeeded()
            return []
        }
        var (bytes, claimed) = (used, 0)
        var claims: [MessageNode] = []
        var count = operations
        while let next = prepared.first, slots > 0, count + 2 <= Request.maximumOperations {
            if !claims.isEmpty, isClaimedAlone(next.name) { break }
            if waiters.isEmpty, requeued.contains(next.name) { break }
            let size = size(ofClaiming: next, registration)
            (bytes, claimed) = (bytes + size, claimed + size)
            if bytes > queue.store.maximumRequestSize, !claims.isEmpty || !ends.isEmpty { break }
            if !claimLimit.allows(claimed), !claims.isEmpty || !ends.isEmpty { break }
            claims.append(next)
            count += 2
            prepared.removeFirst()
            slots -= next.messages.count
        }
        return claims
    }

    /// Whether a message is claimed only when a caller waits for it, and alone.
    ///
    /// When a consumer fails, the recovery counts a delivery of every message that the consumer held, because it cannot
    /// tell which ones were handed out. A message that crashes its consumer each time would take the messages behind it
    /// to the dead letters. So a message that was redelivered before is not claimed in advance.
    private func isClaimedAlone(_ name: ItemName) -> Bool {
        name.redeliveries >= min(2, maximumDeliveries - 1)
    }

    private func size(ofClaiming node: MessageNode, _ registration: Registration) -> Int {
        ConsumerTransaction.moves(node, queue, registration).reduce(0) { $0 + queue.store.size(of: $1) }
    }

    // MARK: Outcomes

    /// Whether the epoch must be read before the transaction is sent.
    func needsEpoch(for commit: ConsumerTransaction) -> Bool { needsEpoch && commit.usesNames }

    /// Whether to wait briefly for the end of a rollover, like a producer: at the rate of acknowledgements, new nodes
    /// would keep the recovery from completing it.
    func mustWaitForEpoch(with commit: ConsumerTransaction) -> Bool {
        epoch.phase == .closing && commit.settlements.contains { $0.succession?.createsItem ?? false }
    }

    /// Updates a transaction to the current state, just before it is sent.
    mutating func refresh(_ commit: inout ConsumerTransaction) {
        // Claims name messages of the epoch in which they were read, and ZooKeeper refuses them in another one.
        if commit.claims.isEmpty { commit.epoch = epoch }
        commit.maximumDeliveries = maximumDeliveries
        dropSettled(&commit)
    }

    /// Removes messages that an earlier transaction has settled, although no caller was told.
    private mutating func dropSettled(_ commit: inout ConsumerTransaction) {
        guard !commit.isUnresolved, registration == commit.registration else { return }
        let gone = commit.settlements.indices.filter { index in
            let lease = commit.settlements[index].lease
            return lease.state == .settled
                || lease.index.map { heldLeases.progress.isSettled($0, of: lease.node) } ?? false
        }
        for index in gone { leaseIsGone(commit.settlements[index]) }
        commit.remove(gone)
    }

    /// Handles the reply to a transaction.
    ///
    /// - Parameter stamp: the leader's clock, in milliseconds since 1970.
    mutating func answered(_ stamp: Int64, sentAt: Duration, now: Duration) {
        clock.observe(stamp, sentAt: sentAt, receivedAt: now)
        noticeSilence(now: sentAt)
        renewedAt = sentAt
        lastTransaction = now - sentAt
        claimLimit.pass(of: queue.store.maximumRequestSize)
    }

    /// Handles a reading of the ensemble's clock.
    mutating func clockRead(_ stamp: Int64, sentAt: Duration, now: Duration) {
        clock.observe(stamp, sentAt: sentAt, receivedAt: now)
    }

    /// Handles a transaction that was applied.
    ///
    /// - Parameters:
    ///   - token: the fencing token of the leases that begin with the transaction.
    ///   - session: the current state of the session. Its changes during the transaction concern these leases too.
    mutating func applied(
        _ commit: ConsumerTransaction, _ plan: ConsumerTransaction.Plan, token: Int64, session: SessionState,
        now: Duration
    ) {
        for settlement in commit.settlements { succeed(settlement) }
        // The session may have ended while the reply was on its way. A recovery then requeues the claimed messages.
        guard registration == commit.registration else { return }
        heldLeases = plan.heldLeases
        if let sentAt = commit.sentAt { renewedAt = max(renewedAt, sentAt) }
        if commit.renews { emit(.countRenewal) }
        // The transaction gives up the position together with claims, which may have been dropped since.
        if let left = commit.position, !commit.claims.isEmpty { positionIsGone(left) }
        if leases.isEmpty { leasesListedAt = now }
        for node in commit.claims {
            emit(.handled(path: node.entry.path(in: queue.tree)))
            for message in node.messages {
                let lease = Lease(
                    message, of: node, fencingToken: token, claimedAt: now, registration: commit.registration)
                leases[message.name.string] = lease
                enqueue(lease)
            }
        }
        emit(.oversee)
        emit(.renew)
        if !commit.claims.isEmpty { sessionChanged(session) }
        readIfNeeded()
    }

    /// Handles a transaction that was sent without a reply, or that could not be sent. A transaction that may have
    /// been applied is sent again, because no other transaction can be sent until its outcome is certain.
    mutating func unanswered(_ commit: inout ConsumerTransaction, _ error: ZooKeeperError, since start: Duration) {
        // The settlements behind it have waited as long, and were certainly not sent.
        if error.code == .deadlineExceeded {
            let late = settlements.filter { $0.since <= start }
            settlements.removeAll { $0.since <= start }
            for var settlement in late { fail(&settlement, Self.notSent) }
        }
        if error.code == .deadlineExceeded || !commit.isUnresolved {
            // The caller has waited long enough, and may try again.
            for index in commit.settlements.indices { fail(&commit.settlements[index], error) }
        }
        guard !commit.isUnresolved else { return }
        for settlement in commit.settlements { settlement.wasNotApplied() }
        drop(&commit)
    }

    /// Removes everything from a transaction that is not sent.
    mutating func drop(_ commit: inout ConsumerTransaction) {
        commit.clear()
        dropClaims(&commit)
    }

    private static let notSent = ZooKeeperError(
        code: .deadlineExceeded, message: "Not sent: an earlier transaction timed out. Try again.", path: nil,
        outcome: .notApplied)

    /// Handles the end of the epoch that the transaction checks. The names that were read before
    /// may mean other messages now.
    mutating func epochIsOver(_ commit: inout ConsumerTransaction) {
        dropClaims(&commit)
        needsEpoch = true
    }

    /// Abandons the transaction, because its outcome cannot be determined or its error cannot be fixed.
    mutating func abandon(_ commit: inout ConsumerTransaction, _ error: any Error) {
        if commit.isUnresolved {
            needsHeldLeases = true
            abandoned = commit.settlements
        }
        commit.renews = false
        fail(&commit, Array(commit.settlements.indices), error)
        if !commit.claims.isEmpty { claimsFailed(&commit, error) }
    }

    /// Removes the claims because of an error that retrying cannot fix.
    mutating func claimsFailed(_ commit: inout ConsumerTransaction, _ error: any Error) {
        dropClaims(&commit)
        failed(error)
    }

    /// Skips one message that cannot be claimed. The others are sent again at once.
    mutating func skipClaim(_ number: Int, of commit: inout ConsumerTransaction, _ reason: SkippedNode.Reason) {
        emit(.skip(path: commit.claims[number].entry.path(in: queue.tree), reason))
        commit.claims.remove(at: number)
        claiming = commit.claims
        // A scan that has begun during the claim does not know when to try the message again.
        emit(.rescan)
    }

    /// Removes the claims, and makes the reader read those messages and all later ones again. The list stays.
    mutating func rereadClaims(_ commit: inout ConsumerTransaction) {
        let nodes = commit.claims
        commit.claims = []
        claiming = []
        reread(nodes)
    }

    /// Removes the claims, and makes the reader list the messages again.
    mutating func dropClaims(_ commit: inout ConsumerTransaction) {
        commit.claims = []
        claiming = []
        forgetList()
    }

    /// Removes the position in the wait queue from the transaction, because the position is gone.
    mutating func positionIsGone(of commit: inout ConsumerTransaction) {
        if let name = commit.position { positionIsGone(name) }
        commit.position = nil
    }

    /// Reduces the size of claims, after the connection broke repeatedly at claims of this size.
    mutating func shrinkClaims(from bytes: Int, _ commit: inout ConsumerTransaction) {
        claimLimit.shrink(from: bytes)
        emit(
            .log(
                .notice, "A server closes the connection at large requests; claiming fewer messages at a time",
                ["bytes": "\(bytes)", "limit": "\(claimLimit.bytes ?? 0)"]))
        rereadClaims(&commit)
    }

    // MARK: Refused parts

    /// Handles the refusal of an operation on the node of a lease: the node is gone, or the operation
    /// failed for another reason.
    mutating func refusedLease(_ numbers: [Int], of commit: inout ConsumerTransaction, _ error: ZooKeeperError) {
        guard error.code == .noNode else { return fail(&commit, numbers, error) }
        let nodes = Set(numbers.map { commit.settlements[$0].lease.node })
        for number in numbers {
            // Nothing of this transaction was applied, so the lease was taken away.
            commit.settlements[number].wasNotApplied()
            leaseIsGone(commit.settlements[number])
        }
        commit.remove(numbers)
        if registration == commit.registration { for node in nodes { leaseIsTaken(node) } }
    }

    enum ClaimRefusal: Sendable, Hashable {
        case handled
        /// The parent of the leases was removed, which makes the registration useless.
        case parentIsGone
    }

    /// Handles the refusal of a claim, at one of its operations: the delete of the message or the create of the lease.
    mutating func refusedClaim(
        _ number: Int, of commit: inout ConsumerTransaction, at operation: Int, _ error: ZooKeeperError
    ) -> ClaimRefusal {
        let isDelete = operation == 0
        switch error.code {
        case .noNode where isDelete, .badVersion:
            // Another consumer has claimed it, and probably its neighbours too, or it has changed since it was read.
            rereadClaims(&commit)
        case .noNode:
            dropClaims(&commit)
            return .parentIsGone
        case .nodeExists:
            skipClaim(number, of: &commit, .nameInUse)
        default:
            if error.concernsOneNode {
                skipClaim(number, of: &commit, SkippedNode.Reason(error))
            } else {
                claimsFailed(&commit, error)
            }
        }
        return .handled
    }

    /// Ends the leases of the transaction's settlements, because nothing that the registration
    /// knows is certain any more.
    mutating func loseTrack(of commit: inout ConsumerTransaction, _ error: QueueError) {
        for settlement in commit.settlements {
            emit(.update(settlement.lease, .lost))
            resume(settlement, with: .failure(error))
        }
        drop(&commit)
    }

    /// Tells the caller of a settlement that its lease ended with the session. By now it is known whether earlier
    /// attempts to settle it may have been applied.
    mutating func leaseWasLost(_ settlement: Settlement) {
        let lease = settlement.lease
        emit(.settlingFailed(lease))
        resume(settlement, with: .failure(lease.unresolved.isEmpty ? Lease.lostError : Lease.unknownError))
    }

    // MARK: Completion

    private mutating func succeed(_ settlement: Settlement) {
        emit(.update(settlement.lease, .settled))
        forget(settlement.lease)
        if let end = settlement.end(maximumDeliveries: maximumDeliveries) { emit(.count(end)) }
        if case .requeue(let reason, _) = settlement.kind {
            noteRequeued(settlement)
            emit(
                .log(
                    .debug, "Requeued a message",
                    ["message": "\(settlement.lease.name.string)", "reason": "\(reason ?? "none")"]))
        }
        resume(settlement, with: .success(()))
    }

    /// Handles a lease that is gone: an earlier attempt whose reply was lost has ended it, or another
    /// client, which must not do so.
    mutating func leaseIsGone(_ settlement: Settlement) {
        let lease = settlement.lease
        if lease.unresolved == [settlement.kind] { return succeed(settlement) }
        emit(.update(lease, lease.unresolved.isEmpty ? .lost : .settled))
        forget(lease)
        let isEarlier = !lease.unresolved.isEmpty && !lease.unresolved.contains(settlement.kind)
        let error =
            lease.unresolved.isEmpty ? Lease.lostError : isEarlier ? Self.settledEarlier : Lease.unknownError
        resume(settlement, with: .failure(error))
    }

    private static let settledEarlier = QueueError(
        .alreadySettled,
        "The message was already settled in another way, by an earlier call whose response was lost. This call changed "
            + "nothing.")

    mutating func fail(_ commit: inout ConsumerTransaction, _ numbers: [Int], _ error: any Error) {
        for number in numbers {
            if !commit.isUnresolved { commit.settlements[number].wasNotApplied() }
            fail(&commit.settlements[number], error)
        }
        commit.remove(numbers)
    }

    private mutating func fail(_ settlement: inout Settlement, _ error: any Error) {
        guard settlement.waiter != nil else { return }
        let lease = settlement.lease
        emit(.settlingFailed(lease))
        if error is GroupSuccession.Outdated {
            // The caller reads the group again. A caller that was told that no reply arrived settles the message again.
            resume(settlement, with: .failure(error))
            settlement.waiter = nil
            return
        }
        let cause = error as? ZooKeeperError
        let reported = cause.map { QueueError($0, while: "settling a message", queue: queue.path) } ?? error
        // However definite this failure is, an earlier attempt may have been applied.
        let isUnknown =
            cause?.outcome == .unknown
            || !lease.unresolved.isEmpty && (reported as? QueueError)?.code != .outcomeUnknown
        resume(settlement, with: .failure(isUnknown ? Lease.unresolvedError(cause) : reported))
        settlement.waiter = nil
    }

    /// Resumes the caller of a settlement, unless it was resumed before.
    mutating func resume(_ settlement: Settlement, with result: Result<Void, any Error>) {
        if let waiter = settlement.waiter { emit(.resume(waiter, result)) }
    }

    /// Remembers a message that was requeued, under its new name.
    private mutating func noteRequeued(_ settlement: Settlement) {
        let name = settlement.lease.name
        // The set is bounded. The consumer may claim a forgotten message again a little sooner.
        if requeued.count >= 1_000 { requeued = [] }
        requeued.insert(name.with(redeliveries: name.redeliveries + 1 + settlement.extraRedeliveries))
    }
}
