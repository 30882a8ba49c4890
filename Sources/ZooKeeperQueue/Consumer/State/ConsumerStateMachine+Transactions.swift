import DequeModule
import Logging
import ZooKeeper

/// What goes into a transaction, and what its outcome means.
extension ConsumerStateMachine {
    // MARK: Events

    /// A caller settles a message. Settlements that come while a transaction is under way go together with the next.
    mutating func settles(_ settlement: Settlement, now: Duration) {
        settlements.append(settlement)
        commitIfNeeded(now: now)
    }

    mutating func gatheringBegins() { isGathering = true }

    mutating func gatheringEnds(now: Duration) {
        isGathering = false
        commitIfNeeded(now: now)
    }

    /// Starts to end leases and to claim messages, unless that is under way or there is nothing to do.
    mutating func commitIfNeeded(now: Duration) {
        guard !isCommitting, !isGathering, let first = nextTransaction(now: now) else { return }
        isCommitting = true
        emit(.commit(first))
    }

    /// A transaction has ended, as a whole or in parts.
    mutating func transactionEnded() {
        claiming = []
        wake()
    }

    /// What the committer goes on with; `nil` when there is nothing to do, and it ends.
    mutating func nextCommit(now: Duration) -> ConsumerCommit? {
        let next = nextTransaction(now: now)
        isCommitting = next != nil
        return next
    }

    // MARK: The next transaction

    /// Takes what has gathered: settlements of one registration, and claims for the places that are free with them.
    private mutating func nextTransaction(now: Duration) -> ConsumerCommit? {
        // What the multi has before anything is gathered: the consumer's own operations, the check of the epoch, and
        // the position in the line.
        var (count, bytes) = (4, 1_024 + holdings.progress.encoded().count)
        let ends = nextSettlements(&count, &bytes)
        guard let registration = ends.first?.lease.registration ?? registration else { return nil }
        var commit = ConsumerCommit(
            registration: registration, epoch: epoch, maximumDeliveries: maximumDeliveries, settlements: ends)
        if registration == self.registration {
            commit.claims = nextClaims(ends, count, bytes, now: now)
            // With a single message it stays the first in the line, until there is one that it cannot hand out at once.
            if commit.claims.count > 1 || !prepared.isEmpty || !ready.isEmpty(now: now) {
                commit.place = position.name
            }
        }
        claiming = commit.claims
        if !claiming.isEmpty { readIfNeeded() }
        return commit.isEmpty ? nil : commit
    }

    /// As many as fit into one multi, which is guarded by one registration.
    private mutating func nextSettlements(_ count: inout Int, _ bytes: inout Int) -> [Settlement] {
        var batch: [Settlement] = []
        while let next = settlements.first {
            if next.lease.state == .settled {
                // By an attempt whose answer came after its caller was told that none had come.
                settlements.removeFirst()
                leaseIsGone(next)
                continue
            }
            guard batch.last.map({ $0.lease.registration == next.lease.registration }) ?? true else { break }
            // Of a batch, the lease is checked, and deleted with its last message.
            let ends = Array(repeating: Operation.delete(next.lease.path), count: next.lease.index == nil ? 1 : 2)
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

    /// Messages are claimed many at a time: together with settlements, or when none is left to hand out, or half of the
    /// places are free.
    private mutating func nextClaims(
        _ ends: [Settlement], _ operations: Int, _ used: Int, now: Duration
    ) -> [MessageNode] {
        if yieldsToIdle, waiters.isEmpty { return [] }
        guard let registration, phase == .open, failure == nil, iterators.isPositive, let first = prepared.first
        else { return [] }
        var places = max(free(endingWith: ends.count), urgentPlaces)
        guard places > 0, !ends.isEmpty || buffer.isEmpty || places >= (prefetch + 1) / 2 || urgentPlaces > 0 else {
            return []
        }
        if mustRenew, leases.isEmpty, ends.isEmpty {
            // The reader registers anew before it reads again.
            forgetList()
            readIfNeeded()
            return []
        }
        if mustRenew || isClaimedAlone(first.name) {
            guard buffer.isEmpty, !waiters.isEmpty else { return [] }
            places = 1
        }
        guard now - preparedAt <= max(.seconds(1), lastTransaction * 3) else {
            // A message of higher priority may have come.
            forgetList()
            readIfNeeded()
            return []
        }
        var (bytes, claimed) = (used, 0)
        var claims: [MessageNode] = []
        var count = operations
        while let next = prepared.first, places > 0, count + 2 <= Request.maximumOperations {
            if !claims.isEmpty, isClaimedAlone(next.name) { break }
            if waiters.isEmpty, givenBack.contains(next.name) { break }
            let size = size(ofClaiming: next, registration)
            (bytes, claimed) = (bytes + size, claimed + size)
            if bytes > queue.store.maximumRequestSize, !claims.isEmpty || !ends.isEmpty { break }
            if !claimLimit.allows(claimed), !claims.isEmpty || !ends.isEmpty { break }
            claims.append(next)
            count += 2
            prepared.removeFirst()
            places -= next.messages.count
        }
        return claims
    }

    /// Whether a message is claimed only when a caller waits for it, and by itself.
    ///
    /// When a consumer fails, a recovery counts a delivery of all that it held, because it cannot tell what had been
    /// handed out. A message that brings its consumer down each time would take those that wait behind it along to the
    /// dead letters. So a message that has come back before is not held in advance.
    private func isClaimedAlone(_ name: ItemName) -> Bool {
        name.returns >= min(2, maximumDeliveries - 1)
    }

    private func size(ofClaiming node: MessageNode, _ registration: Registration) -> Int {
        ConsumerCommit.moves(node, queue, registration).reduce(0) { $0 + queue.store.size(of: $1) }
    }

    // MARK: Outcomes

    /// Whether the tree must be read before a transaction is sent.
    func needsEpoch(for commit: ConsumerCommit) -> Bool { needsEpoch && commit.usesNames }

    /// Brings a transaction up to what is known now, just before it is sent.
    mutating func refresh(_ commit: inout ConsumerCommit) {
        // Claims name messages of the epoch in which they were read, and are refused in another.
        if commit.claims.isEmpty { commit.epoch = epoch }
        commit.maximumDeliveries = maximumDeliveries
        dropSettled(&commit)
    }

    /// Messages of a batch that an earlier transaction has settled, though no caller was told.
    private mutating func dropSettled(_ commit: inout ConsumerCommit) {
        guard !commit.isUnresolved, registration == commit.registration else { return }
        let gone = commit.settlements.indices.filter { index in
            let lease = commit.settlements[index].lease
            return lease.index.map { holdings.progress.isSettled($0, of: lease.node) } ?? false
        }
        for index in gone { leaseIsGone(commit.settlements[index]) }
        commit.remove(gone)
    }

    /// The transaction was answered.
    mutating func answered(after time: Duration) {
        lastTransaction = time
        claimLimit.pass(of: queue.store.maximumRequestSize)
    }

    /// The transaction was applied.
    ///
    /// - Parameters:
    ///   - token: the fencing token of the leases that begin with it.
    ///   - session: the session's state now. What was said of it meanwhile concerns these leases too.
    mutating func applied(
        _ commit: ConsumerCommit, _ plan: ConsumerCommit.Plan, token: Int64, session: SessionState, now: Duration
    ) {
        for settlement in commit.settlements { succeed(settlement) }
        // The session may have ended while the answer was on its way: a recovery gives back what was claimed.
        guard registration == commit.registration else { return }
        holdings = plan.holdings
        if let left = commit.place { positionIsGone(left) }
        for node in commit.claims {
            emit(.handled(path: node.entry.path(in: queue.tree)))
            for message in node.messages {
                let lease = Lease(
                    message, of: node, fencingToken: token, takenAt: now, registration: commit.registration)
                leases[message.name.string] = lease
                enqueue(lease)
            }
        }
        emit(.oversee)
        if !commit.claims.isEmpty { sessionChanged(session) }
        readIfNeeded()
    }

    /// No answer came, or nothing could be sent. A transaction that may have been applied is sent again: until that is
    /// certain, nothing else can be.
    mutating func unanswered(_ commit: inout ConsumerCommit, _ error: ZooKeeperError, since start: Duration) {
        // Those that wait behind it have waited as long, and are certainly not sent.
        if error.code == .deadlineExceeded {
            let late = settlements.filter { $0.since <= start }
            settlements.removeAll { $0.since <= start }
            for var settlement in late { fail(&settlement, Self.notSent) }
        }
        if error.code == .deadlineExceeded || !commit.isUnresolved {
            // The caller has waited long enough, and may try again.
            for index in commit.settlements.indices { fail(&commit.settlements[index], error) }
        }
        if !commit.isUnresolved {
            commit.settlements = []
            dropClaims(&commit)
        }
    }

    private static let notSent = ZooKeeperError(
        code: .deadlineExceeded, message: "Not sent: an earlier transaction timed out.", path: nil,
        outcome: .notApplied)

    /// The epoch that was checked is over: what was read before the change may be something else now.
    mutating func epochIsOver(_ commit: inout ConsumerCommit) {
        dropClaims(&commit)
        needsEpoch = true
    }

    /// Nothing more can be learnt or done about the transaction.
    mutating func abandon(_ commit: inout ConsumerCommit, _ error: any Error) {
        if commit.isUnresolved { needsHoldings = true }
        fail(&commit, Array(commit.settlements.indices), error)
        if !commit.claims.isEmpty {
            dropClaims(&commit)
            failed(error)
        }
    }

    /// Skips one message that cannot be claimed. The others are sent again at once.
    mutating func skipClaim(_ number: Int, of commit: inout ConsumerCommit, _ reason: SkippedNode.Reason) {
        emit(.skip(path: commit.claims[number].entry.path(in: queue.tree), reason))
        commit.claims.remove(at: number)
        claiming = commit.claims
    }

    /// Reads again what was not claimed, and what comes after it. The list stays.
    mutating func rereadClaims(_ commit: inout ConsumerCommit) {
        let nodes = commit.claims
        commit.claims = []
        claiming = []
        reread(nodes)
    }

    /// What is not claimed now is looked at anew, with all that comes after it.
    mutating func dropClaims(_ commit: inout ConsumerCommit) {
        commit.claims = []
        claiming = []
        forgetList()
    }

    /// The transaction deletes no position from here on: it is gone.
    mutating func positionIsGone(of commit: inout ConsumerCommit) {
        if let name = commit.place { positionIsGone(name) }
        commit.place = nil
    }

    /// The connection broke at claims of this size again and again.
    mutating func shrinkClaims(from bytes: Int, _ commit: inout ConsumerCommit) {
        claimLimit.shrink(from: bytes)
        emit(
            .log(
                .notice, "A server breaks off large requests; claiming fewer messages at a time",
                ["bytes": "\(bytes)", "limit": "\(claimLimit.bytes ?? 0)"]))
        rereadClaims(&commit)
    }

    // MARK: Refused parts

    /// The node of a lease was refused: it is gone, or an operation of another kind failed.
    mutating func refusedLease(_ numbers: [Int], of commit: inout ConsumerCommit, _ error: ZooKeeperError) {
        guard error.code == .noNode else { return fail(&commit, numbers, error) }
        for number in numbers { leaseIsGone(commit.settlements[number]) }
        commit.remove(numbers)
    }

    enum ClaimRefusal: Sendable, Hashable {
        case handled
        /// The parent of the leases was removed: without it this registration is of no use.
        case parentIsGone
    }

    /// A claim was refused, in one of its operations: the delete of the message, or the create of the lease.
    mutating func refusedClaim(
        _ number: Int, of commit: inout ConsumerCommit, at place: Int, _ error: ZooKeeperError
    ) -> ClaimRefusal {
        let isDelete = place == 0
        switch error.code {
        case .noNode where isDelete, .badVersion:
            // Another consumer has it, and probably its neighbours; or it has changed since it was read.
            rereadClaims(&commit)
        case .noNode:
            dropClaims(&commit)
            return .parentIsGone
        case .nodeExists:
            skipClaim(number, of: &commit, .refused("this consumer has a lease of that name already"))
        default:
            if error.concernsOneNode {
                skipClaim(number, of: &commit, SkippedNode.Reason(error))
            } else {
                failed(error)
                dropClaims(&commit)
            }
        }
        return .handled
    }

    /// Nothing that the registration knows is certain any more.
    mutating func loseTrack(of commit: inout ConsumerCommit, _ error: QueueError) {
        for settlement in commit.settlements {
            emit(.update(settlement.lease, .lost))
            tell(settlement, .failure(error))
        }
        commit.settlements = []
        dropClaims(&commit)
    }

    /// The lease ended with its session. What is known of earlier attempts to settle it has been found out.
    mutating func leaseWasLost(_ settlement: Settlement) {
        let lease = settlement.lease
        emit(.settlingFailed(lease))
        tell(settlement, .failure(lease.unresolved.isEmpty ? Lease.lostError : Lease.unknownError))
    }

    // MARK: Telling callers

    private mutating func succeed(_ settlement: Settlement) {
        emit(.update(settlement.lease, .settled))
        forget(settlement.lease)
        if case .giveBack(let reason) = settlement.kind {
            noteGivenBack(settlement)
            emit(
                .log(
                    .debug, "Gave a message back",
                    ["message": "\(settlement.lease.name.string)", "reason": "\(reason ?? "none")"]))
        }
        tell(settlement, .success(()))
    }

    /// The lease was ended by an earlier attempt whose answer was lost, or by a client that may not.
    mutating func leaseIsGone(_ settlement: Settlement) {
        let lease = settlement.lease
        if lease.unresolved == [settlement.kind] { return succeed(settlement) }
        emit(.update(lease, lease.unresolved.isEmpty ? .lost : .settled))
        forget(lease)
        let isEarlier = !lease.unresolved.isEmpty && !lease.unresolved.contains(settlement.kind)
        let error =
            lease.unresolved.isEmpty ? Lease.lostError : isEarlier ? Self.settledEarlier : Lease.unknownError
        tell(settlement, .failure(error))
    }

    private static let settledEarlier = QueueError(
        .alreadySettled,
        "The message was settled by an earlier attempt of another kind, whose answer was lost; nothing was changed.")

    mutating func fail(_ commit: inout ConsumerCommit, _ numbers: [Int], _ error: any Error) {
        for number in numbers { fail(&commit.settlements[number], error) }
        commit.remove(numbers)
    }

    private mutating func fail(_ settlement: inout Settlement, _ error: any Error) {
        guard settlement.waiter != nil else { return }
        let lease = settlement.lease
        emit(.settlingFailed(lease))
        let cause = error as? ZooKeeperError
        let told = cause.map { QueueError($0, while: "settling a message", queue: queue.path) } ?? error
        // However definite the last attempt's failure, an earlier one may have been applied.
        let isUnknown = !lease.unresolved.isEmpty && (told as? QueueError)?.code != .outcomeUnknown
        let unknown = QueueError(
            .outcomeUnknown, "No answer came: the message may be settled as was asked, or still be held.", cause: cause)
        tell(settlement, .failure(isUnknown ? unknown : told))
        settlement.waiter = nil
    }

    /// Resumes the caller of a settlement, unless it was told before.
    mutating func tell(_ settlement: Settlement, _ result: Result<Void, any Error>) {
        if let waiter = settlement.waiter { emit(.resume(waiter, result)) }
    }

    /// Remembers a message that was given back, under the name that it has now.
    private mutating func noteGivenBack(_ settlement: Settlement) {
        let name = settlement.lease.name
        // The set is bounded. A message that is forgotten here is taken again a little sooner.
        if givenBack.count >= 1_000 { givenBack = [] }
        givenBack.insert(name.with(returns: name.returns + 1 + settlement.extraReturns))
    }
}
