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
        try await withCheckedThrowingContinuation { waiter in
            settlements.append(
                Settlement(
                    lease: lease, kind: kind, waiter: waiter, since: queue.store.now,
                    unresolvedBefore: lease.unresolved))
            commitSoon()
        }
    }

    /// Ends leases and takes new ones, step after step, as long as there is something to do.
    func commitSoon() {
        guard !isCommitting else { return }
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

    /// Sends a step until its outcome is certain. What is refused of it is taken out, and the rest sent again.
    private func carryOut(_ commit: ConsumerCommit) async {
        var commit = commit
        var attempts = 0
        defer {
            claiming = []
            wakeTakers()
        }
        while !commit.isEmpty {
            let start = queue.store.now
            do {
                if mustReadHoldings { try await readHoldings(commit.registration) }
                if mustReadEpoch, commit.usesNames { try await readEpoch() }
                // What is claimed was read in an epoch, and is refused in another.
                if commit.claims.isEmpty { commit.epoch = epoch }
                dropSettled(&commit)
                if commit.isEmpty { return }
            } catch let error as ZooKeeperError where error.isPassing {
                attempts += 1
                await unanswered(&commit, error, since: start)
                if phase != .open, attempts > 2 { return abandon(commit, error) }
                continue
            } catch {
                return abandon(commit, error)
            }
            let plan = commit.plan(queue, holdings)
            do {
                let results = try await queue.store.multi(plan.operations)
                guard results.count > 1, case .set(let stat) = results[1] else { return }
                lastStep = queue.store.now - start
                return applied(commit, plan, token: stat.mzxid)
            } catch let error as ZooKeeperError {
                attempts += 1
                if error.outcome == .unknown {
                    commit.isUnresolved = true
                    for settlement in commit.settlements { settlement.lease.unresolved.insert(settlement.kind) }
                }
                if error.isPassing {
                    await unanswered(&commit, error, since: start)
                    // Also while the consumer closes, but not for ever then.
                    if phase != .open, attempts > 2 { return abandon(commit, error) }
                } else {
                    await refused(&commit, plan, error)
                }
            } catch {
                return abandon(commit, error)
            }
        }
    }

    /// A step was given up before it was certain: what stands in the tree is what holds.
    private func readHoldings(_ registration: Registration) async throws {
        guard self.registration == registration else { return mustReadHoldings = false }
        do {
            // A read alone may come before a step that is still on its way between the servers.
            try await queue.store.sync(registration.paths.path)
            let node = try await queue.store.get(registration.paths.path)
            guard self.registration == registration else { return }
            holdings.found(node)
            mustReadHoldings = false
        } catch let error as ZooKeeperError where error.code == .noNode {
            // The step itself will find that the registration is gone.
            mustReadHoldings = false
        }
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

    private func applied(_ commit: ConsumerCommit, _ plan: ConsumerCommit.Plan, token: Int64) {
        for settlement in commit.settlements { succeed(settlement) }
        // The session may have ended while the answer was on its way: a recovery gives back what was taken.
        guard registration == commit.registration else { return }
        holdings = plan.holdings
        if let left = commit.place, left == place { place = nil }
        for item in commit.claims {
            for message in item.messages {
                let lease = Lease(message, of: item, fencingToken: token, registration: commit.registration)
                leases[message.name.string] = lease
                buffer.append(lease)
            }
        }
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

    /// Something of it was refused, so that nothing of it was applied; or all of it was, earlier.
    private func refused(_ commit: inout ConsumerCommit, _ plan: ConsumerCommit.Plan, _ error: ZooKeeperError) async {
        guard let index = error.operationIndex, plan.parts.indices.contains(index) else {
            return await refusedAsAWhole(&commit, error)
        }
        switch plan.parts[index] {
        case .session, .registration:
            if error.code == .badVersion { return await versionDiffers(&commit) }
            guard error.code == .noNode else { return abandon(&commit, error) }
            await sessionHasEnded(&commit)
        case .epoch:
            commit.isCertainlyNotApplied()
            guard error.code == .badVersion else { return abandon(&commit, error) }
            // What was read before the change may be something else now.
            dropClaims(&commit)
            mustReadEpoch = true
        case .lease(let numbers):
            commit.isCertainlyNotApplied()
            guard error.code == .noNode else { return fail(&commit, numbers, error) }
            for number in numbers { leaseIsGone(commit.settlements[number]) }
            commit.remove(numbers)
        case .settlement(let number):
            commit.isCertainlyNotApplied()
            if error.code == .nodeExists, commit.settlements[number].canTakeAnotherName {
                // A message of that name is there, from before the server's counter began anew.
                commit.settlements[number].extraReturns += 1
            } else {
                fail(&commit, [number], error)
            }
        case .claim(let number):
            commit.isCertainlyNotApplied()
            if error.code == .requestTooLarge {
                ignore(
                    commit.claims[number].listed, why: "it is too large for this client's maximumRequestSize")
            } else if ![.noNode, .badVersion, .nodeExists].contains(error.code) {
                fail(error)
            }
            // Somebody else has it, and probably its neighbours; or it has changed since it was read.
            dropClaims(&commit)
        case .place:
            commit.isCertainlyNotApplied()
            if commit.place == place { place = nil }
            commit.place = nil
            guard error.code == .noNode else { return abandon(&commit, error) }
        }
    }

    /// It is about some part, and does not say which: each is tried by itself.
    private func refusedAsAWhole(_ commit: inout ConsumerCommit, _ error: ZooKeeperError) async {
        if commit.isUnresolved || commit.settlements.count + commit.claims.count <= 1 {
            if let item = commit.claims.first, error.code == .requestTooLarge {
                ignore(item.listed, why: "it is too large for this client's maximumRequestSize")
                return dropClaims(&commit)
            }
            return abandon(&commit, error)
        }
        for settlement in commit.settlements {
            await carryOut(
                ConsumerCommit(registration: commit.registration, epoch: commit.epoch, settlements: [settlement]))
        }
        for item in commit.claims {
            await carryOut(ConsumerCommit(registration: commit.registration, epoch: commit.epoch, claims: [item]))
        }
        commit.settlements = []
        commit.claims = []
    }

    /// The consumer's node has another version: this very step was applied before, or somebody else wrote to it.
    private func versionDiffers(_ commit: inout ConsumerCommit) async {
        let path = commit.registration.paths.path
        var attempts = 0
        while phase == .open || attempts < 3 {
            attempts += 1
            do {
                let node = try await queue.store.get(path)
                if commit.isUnresolved {
                    applied(commit, commit.plan(queue, holdings), token: node.stat.mzxid)
                    commit.settlements = []
                    commit.claims = []
                }
                if registration == commit.registration { holdings.found(node) }
                return
            } catch let error as ZooKeeperError where error.code == .noNode {
                return await sessionHasEnded(&commit)
            } catch let error as ZooKeeperError where error.isPassing {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                return abandon(&commit, error)
            }
        }
        abandon(&commit, Lease.unknownError)
    }

    /// The registration's session has ended, and this attempt was not applied. What was sent before without an answer may
    /// have been.
    private func sessionHasEnded(_ commit: inout ConsumerCommit) async {
        lose(commit.registration)
        for index in commit.settlements.indices {
            let lease = commit.settlements[index].lease
            lease.update(.lost)
            if !lease.unresolved.isEmpty, await stillStands(lease) { lease.unresolved = [] }
            lease.settlingFailed()
            commit.settlements[index].tell(
                .failure(lease.unresolved.isEmpty ? Lease.lostError : Lease.unknownError))
        }
        commit.settlements = []
        dropClaims(&commit)
    }

    /// Whether the lease was certainly not ended by the consumer: it still stands, and no request of an ended session can
    /// end it any more.
    private func stillStands(_ lease: Lease) async -> Bool {
        do {
            // The server of the new session may be behind.
            try await queue.store.sync(lease.path)
            let consumer = try await queue.store.get(lease.registration.paths.path)
            guard try await queue.store.exists(lease.path) != nil else { return false }
            guard let index = lease.index else { return true }
            return !LeaseProgress(consumer.data).isSettled(index, of: lease.node)
        } catch {
            return false
        }
    }
}
