import Logging
import ZooKeeper

/// What a refused step says, and what becomes of its parts.
extension QueueConsumer {
    /// Something of it was refused, so that nothing of it was applied; or all of it was, earlier.
    func refused(_ commit: inout ConsumerCommit, _ plan: ConsumerCommit.Plan, _ error: ZooKeeperError) async {
        guard let index = error.operationIndex, plan.parts.indices.contains(index) else {
            return await refusedAsAWhole(&commit, error)
        }
        if case .session = plan.parts[index], error.code == .noNode { return await sessionHasEnded(&commit) }
        if case .registration = plan.parts[index] {
            if error.code == .badVersion { return await resolve(&commit) }
            if error.code == .noNode { return await sessionHasEnded(&commit) }
        }
        // The consumer's node had the expected version, so that no earlier attempt was applied.
        commit.isCertainlyNotApplied()
        switch plan.parts[index] {
        case .session, .registration: abandon(&commit, error)
        case .epoch:
            if error.code == .badVersion {
                // What was read before the change may be something else now.
                dropClaims(&commit)
                mustReadEpoch = true
            } else if await !isMended(error) {
                abandon(&commit, error)
            }
        case .lease(let numbers):
            guard error.code == .noNode else { return fail(&commit, numbers, error) }
            for number in numbers { leaseIsGone(commit.settlements[number]) }
            commit.remove(numbers)
        case .settlement(let number): await refused(settlement: number, of: &commit, at: plan.places[index], error)
        case .wholeRelease(let numbers):
            if error.code == .nodeExists, !commit.releasesSingly {
                commit.releasesSingly = true
            } else if await !isMended(error) {
                fail(&commit, numbers, error)
            }
        case .claim(let number): await refused(claim: number, of: &commit, at: plan.places[index], error)
        case .place:
            if commit.place == place { place = nil }
            commit.place = nil
            guard error.code == .noNode else { return abandon(&commit, error) }
        }
    }

    private func refused(
        settlement number: Int, of commit: inout ConsumerCommit, at place: Int, _ error: ZooKeeperError
    ) async {
        if case .acknowledge = commit.settlements[number].kind {
            return fail(&commit, [number], QueueError(operation: place, refused: error))
        }
        if error.code == .nodeExists, commit.settlements[number].canTakeAnotherName {
            // A message of that name is there, from before the server's counter began anew.
            commit.settlements[number].extraReturns += 1
        } else if await !isMended(error) {
            fail(&commit, [number], error)
        }
    }

    private func refused(
        claim number: Int, of commit: inout ConsumerCommit, at place: Int, _ error: ZooKeeperError
    ) async {
        // The delete comes first, and then the create of the lease.
        let isDelete = place == 0
        switch error.code {
        case .noNode where isDelete, .badVersion:
            // Another consumer has it, and probably its neighbours; or it has changed since it was read.
            rereadClaims(&commit)
        case .noNode:
            // The parent of the leases was removed: without it this registration is of no use.
            dropClaims(&commit)
            await abandon(commit.registration)
        case .nodeExists:
            skipClaim(number, of: &commit, .refused("this consumer has a lease of that name already"))
        default:
            if error.concernsOneNode { return skipClaim(number, of: &commit, SkippedNode.Reason(error)) }
            fail(error)
            dropClaims(&commit)
        }
    }

    /// One message cannot be claimed: it is left alone, and the others go again at once.
    private func skipClaim(_ number: Int, of commit: inout ConsumerCommit, _ reason: SkippedNode.Reason) {
        queue.skipped.skip(commit.claims[number].listed.path(in: queue.tree), reason)
        commit.claims.remove(at: number)
        claiming = commit.claims
    }

    /// Whether a refusal came from a missing folder that is there again.
    private func isMended(_ error: ZooKeeperError) async -> Bool {
        guard error.code == .noNode else { return false }
        return await restoreFolders()
    }

    /// It is about some part, and does not say which: each is tried by itself.
    private func refusedAsAWhole(_ commit: inout ConsumerCommit, _ error: ZooKeeperError) async {
        if commit.isUnresolved { return abandon(&commit, error) }
        guard commit.settlements.count + commit.claims.count > 1 else {
            if !commit.claims.isEmpty, error.concernsOneNode {
                return skipClaim(0, of: &commit, SkippedNode.Reason(error))
            }
            return abandon(&commit, error)
        }
        await carryOutSingly(&commit)
    }

    private func carryOutSingly(_ commit: inout ConsumerCommit) async {
        for settlement in commit.settlements {
            await carryOut(
                ConsumerCommit(
                    registration: commit.registration, epoch: commit.epoch,
                    maximumDeliveries: commit.maximumDeliveries, settlements: [settlement]))
        }
        for item in commit.claims {
            await carryOut(
                ConsumerCommit(
                    registration: commit.registration, epoch: commit.epoch,
                    maximumDeliveries: commit.maximumDeliveries, claims: [item]))
        }
        commit.settlements = []
        commit.claims = []
    }

    // MARK: A server that breaks off large requests

    /// The connection broke at this step again and again: smaller ones may pass.
    func shrink(_ commit: inout ConsumerCommit) async {
        await resolve(&commit)
        // Applied after all, or still not known.
        if commit.isEmpty || commit.isUnresolved { return }
        if !commit.claims.isEmpty {
            let bytes = commit.claims.reduce(0) { $0 + size(ofClaiming: $1, commit.registration) }
            claimLimit.shrink(from: bytes)
            if commit.claims.count == 1, commit.settlements.isEmpty {
                return skipClaim(
                    0, of: &commit,
                    .refused(
                        "the server breaks off the connection at a request of \(bytes) bytes; is its jute.maxbuffer smaller?"
                    ))
            }
            queue.logger.notice(
                "A server breaks off large requests; claiming fewer messages at a time",
                metadata: ["bytes": "\(bytes)", "limit": "\(claimLimit.bytes ?? 0)"])
            return rereadClaims(&commit)
        }
        if commit.settlements.count > 1 { return await carryOutSingly(&commit) }
        fail(
            &commit, Array(commit.settlements.indices),
            QueueError(
                .payloadTooLarge,
                "The server breaks off the connection when the message is settled. Raise its jute.maxbuffer above the client's "
                    + "maximumRequestSize (\(queue.store.maximumRequestSize) bytes)."))
    }

    func size(ofClaiming item: ReadyItem, _ registration: Registration) -> Int {
        ConsumerCommit.moves(item, queue, registration).reduce(0) { $0 + queue.store.size(of: $1) }
    }

    // MARK: Resolving

    /// Reads the version of the consumer's node, which tells whether the step was applied. Every step raises it by one, and
    /// nobody else writes there.
    func resolve(_ commit: inout ConsumerCommit) async {
        let path = commit.registration.paths.path
        let expected = holdings.version
        var attempts = 0
        while phase == .open || attempts < 3 {
            attempts += 1
            do {
                // A read alone may come before a step that is still on its way between the servers.
                try await queue.store.sync(path)
                let node = try await queue.store.get(path)
                switch StepOutcome(found: node.stat.version, expected: expected, isUnresolved: commit.isUnresolved) {
                case .applied:
                    applied(commit, commit.plan(queue, holdings), token: node.stat.mzxid)
                    commit.settlements = []
                    commit.claims = []
                case .notApplied: commit.isCertainlyNotApplied()
                case .changedByOthers: break
                case .rolledBack: return await ensembleLostWrites(&commit, found: node.stat.version)
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

    /// The consumer's node has a lower version than it had: servers have lost writes that they had acknowledged. Nothing that
    /// this registration was told holds any more.
    private func ensembleLostWrites(_ commit: inout ConsumerCommit, found version: Int32) async {
        queue.logger.error(
            "The ensemble has lost acknowledged writes; registering the consumer again",
            metadata: [
                "consumer": "\(commit.registration.paths.path)", "expected": "\(holdings.version)",
                "found": "\(version)",
                "advice": "messages may be delivered again; use ZooKeeper 3.9.4 or later, and check the servers' disks",
            ])
        for index in commit.settlements.indices {
            commit.settlements[index].lease.update(.lost)
            commit.settlements[index].tell(.failure(Self.lostWrites))
        }
        commit.settlements = []
        dropClaims(&commit)
        await abandon(commit.registration)
    }

    private static let lostWrites = QueueError(
        .outcomeUnknown,
        "The servers have lost writes that they had acknowledged: the message may be settled, or will be delivered again."
    )

    /// Leaves a registration that is of no use any more to a recovery, which gives back what it holds, and registers anew.
    private func abandon(_ registration: Registration) async {
        lose(registration)
        for _ in 0..<3 {
            do {
                return try await queue.store.delete(registration.paths.active, version: nil)
            } catch let error as ZooKeeperError where error.isPassing && error.code != .deadlineExceeded {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                // Gone already; or it goes with the session.
                return
            }
        }
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
