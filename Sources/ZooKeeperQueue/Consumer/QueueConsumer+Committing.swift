import DequeModule
import Logging
import Synchronization
import ZooKeeper

extension QueueConsumer {
    /// Ends a lease. Settlements that come while a step is under way go together with the next.
    func settle(_ lease: Lease, by kind: Settlement.Kind) async throws {
        guard try lease.beginSettling(by: kind) else { return }
        // Waited for without a handler for cancellation: an acknowledgement of work that is done is worth its end, and
        // every attempt has the deadline of a call.
        try await withCheckedThrowingContinuation { continuation in
            let waiter = SettlementWaiter(continuation)
            lease.waitsForSettlement(waiter)
            settlements.append(
                Settlement(
                    lease: lease, kind: kind, waiter: waiter, since: queue.store.now,
                    unresolvedBefore: lease.unresolved))
            commitSoon()
        }
    }

    /// Ends leases and takes new ones, step after step, as long as there is something to do.
    func commitSoon() {
        guard !isCommitting, !isGathering else { return }
        isCommitting = true
        guard let first = nextCommit() else {
            isCommitting = false
            return
        }
        // Never abandoned: what it takes would be held by nobody.
        committer = Task.immediate {
            var next: ConsumerCommit? = first
            while let commit = next {
                await carryOut(commit)
                next = nextCommit()
            }
            isCommitting = false
            // What follows waits for steps that are under way, not for itself.
            committer = nil
            await deregisterIfUnused()
        }
    }

    // MARK: Carrying out

    /// How often in a row the connection breaks at one step before its size is suspected. A server closes the
    /// connection at a request that is larger than its `jute.maxbuffer`.
    private static let suspiciousBreaks = 2

    /// Sends a step until its outcome is certain. What is refused of it is taken out, and the rest sent again.
    func carryOut(_ commit: ConsumerCommit) async {
        var commit = commit
        var breaks = 0
        defer {
            claiming = []
            wakeTakers()
        }
        while !commit.isEmpty {
            let start = queue.store.now
            do {
                if mustReadHoldings, let version = try await readHoldings(commit.registration) {
                    return await ensembleLostWrites(&commit, found: version)
                }
                if mustReadEpoch, commit.usesNames { try await readEpoch() }
                // What is claimed was read in an epoch, and is refused in another.
                if commit.claims.isEmpty { commit.epoch = epoch }
                commit.maximumDeliveries = maximumDeliveries
                dropSettled(&commit)
                if commit.isEmpty { return }
            } catch let error as ZooKeeperError where error.isPassing {
                await unanswered(&commit, error, since: start)
                if phase == .closed { return abandon(commit, error) }
                continue
            } catch {
                return abandon(commit, error)
            }
            let plan = commit.plan(queue, holdings)
            do {
                let results = try await queue.store.multi(plan.operations)
                guard results.count > 1, case .set(let stat) = results[1] else { return }
                lastStep = queue.store.now - start
                claimLimit.pass(of: queue.store.maximumRequestSize)
                return applied(commit, plan, token: stat.mzxid)
            } catch let error as ZooKeeperError {
                if error.outcome == .unknown {
                    commit.isUnresolved = true
                    for settlement in commit.settlements { settlement.lease.unresolved.insert(settlement.kind) }
                }
                if error.isPassing {
                    await unanswered(&commit, error, since: start)
                    breaks = error.code == .connectionLoss ? breaks + 1 : 0
                    if breaks >= Self.suspiciousBreaks, commit.isUnresolved { await shrink(&commit, plan) }
                    if phase == .closed { return abandon(commit, error) }
                } else {
                    await refused(&commit, plan, error)
                }
            } catch {
                return abandon(commit, error)
            }
        }
    }

    /// A step was given up before it was certain: what stands in the tree is what holds.
    ///
    /// - Returns: the version of the consumer's node, where it is lower than it was: servers have lost acknowledged writes.
    private func readHoldings(_ registration: Registration) async throws -> Int32? {
        guard self.registration == registration else {
            mustReadHoldings = false
            return nil
        }
        do {
            // A read alone may come before a step that is still on its way between the servers.
            try await queue.store.sync(registration.paths.path)
            let node = try await queue.store.get(registration.paths.path)
            guard self.registration == registration else { return nil }
            mustReadHoldings = false
            let outcome = StepOutcome(found: node.stat.version, expected: holdings.version, isUnresolved: true)
            if outcome == .rolledBack { return node.stat.version }
            holdings.found(node)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // The step itself will find that the registration is gone.
            mustReadHoldings = false
        }
        return nil
    }

    /// Messages of a batch that an earlier step has settled, though nobody was told.
    private func dropSettled(_ commit: inout ConsumerCommit) {
        guard !commit.isUnresolved, registration == commit.registration else { return }
        let gone = commit.settlements.indices.filter { index in
            let lease = commit.settlements[index].lease
            return lease.index.map { holdings.progress.isSettled($0, of: lease.node) } ?? false
        }
        for index in gone { leaseIsGone(commit.settlements[index]) }
        commit.remove(gone)
    }

    private static let notSent = ZooKeeperError(
        code: .deadlineExceeded, message: "An earlier step had no answer, so that this one was not sent.", path: nil,
        outcome: .notApplied)

    func applied(_ commit: ConsumerCommit, _ plan: ConsumerCommit.Plan, token: Int64) {
        for settlement in commit.settlements { succeed(settlement) }
        // The session may have ended while the answer was on its way: a recovery gives back what was taken.
        guard registration == commit.registration else { return }
        holdings = plan.holdings
        if let left = commit.place, left == place { place = nil }
        for item in commit.claims {
            queue.skipped.handled(item.listed.path(in: queue.tree))
            for message in item.messages {
                let lease = Lease(
                    message, of: item, fencingToken: token, takenAt: queue.store.now, registration: commit.registration)
                leases[message.name.string] = lease
                enqueue(lease)
            }
        }
        overseeSoon()
        // What was said of the session meanwhile concerns these leases too.
        if !commit.claims.isEmpty { sessionChanged() }
        readSoon()
    }

    /// No answer came, or nothing could be sent. A step that may have been applied is sent again: until that is certain,
    /// nothing else can be.
    private func unanswered(_ commit: inout ConsumerCommit, _ error: ZooKeeperError, since start: Duration) async {
        // Those that wait behind it have waited as long, and are certainly not sent.
        if error.code == .deadlineExceeded {
            let late = settlements.filter { $0.since <= start }
            settlements.removeAll { $0.since <= start }
            for var settlement in late {
                fail(&settlement, Self.notSent)
            }
        }
        if error.code == .deadlineExceeded || !commit.isUnresolved {
            // Who settles has waited long enough, and may try again.
            for index in commit.settlements.indices { fail(&commit.settlements[index], error) }
        }
        if !commit.isUnresolved {
            commit.settlements = []
            dropClaims(&commit)
        }
        await error.pauseIfRefusedAtOnce(queue.store)
    }
}
