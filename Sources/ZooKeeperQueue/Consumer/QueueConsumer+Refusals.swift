import Logging
import ZooKeeper

/// How a consumer handles a refused step and its parts.
extension QueueConsumer {
    /// Handles a step of which ZooKeeper refused one part. Either nothing of it was applied, or an earlier attempt was
    /// applied as a whole.
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
            // A message of that name is there from before the server's sequence numbers rolled over.
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
            await leaveToRecovery(commit.registration)
        case .nodeExists:
            skipClaim(number, of: &commit, .refused("this consumer has a lease of that name already"))
        default:
            if error.concernsOneNode { return skipClaim(number, of: &commit, SkippedNode.Reason(error)) }
            fail(error)
            dropClaims(&commit)
        }
    }

    /// Skips one message that cannot be claimed. The others are sent again at once.
    private func skipClaim(_ number: Int, of commit: inout ConsumerCommit, _ reason: SkippedNode.Reason) {
        queue.skipped.skip(commit.claims[number].listed.path(in: queue.tree), reason)
        commit.claims.remove(at: number)
        claiming = commit.claims
    }

    /// Whether the refusal came from a missing folder, which now exists again.
    private func isMended(_ error: ZooKeeperError) async -> Bool {
        guard error.code == .noNode else { return false }
        return await restoreFolders()
    }

    /// Tries each part by itself, because the refusal does not say which one it is about.
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

    /// The connection broke at this transaction again and again. If it is large, smaller ones may pass.
    func shrink(_ commit: inout ConsumerCommit, _ plan: ConsumerCommit.Plan) async {
        let bytes = plan.operations.reduce(0) { $0 + queue.store.size(of: $1) }
        guard bytes > ClaimLimit.smallestServerLimit else { return }
        await resolve(&commit)
        // Applied after all, or still not known.
        if commit.isEmpty || commit.isUnresolved { return }
        let isAlone = commit.claims.count + commit.settlements.count == 1
        if isAlone, !commit.claims.isEmpty {
            return skipClaim(0, of: &commit, .brokenOff(bytes: bytes))
        }
        if isAlone {
            return fail(
                &commit, [0],
                QueueError(
                    .payloadTooLarge,
                    "The server breaks off the connection when the message is settled. Raise its jute.maxbuffer above the "
                        + "client's maximumRequestSize (\(queue.store.maximumRequestSize) bytes)."))
        }
        if commit.claims.isEmpty { return await carryOutSingly(&commit) }
        claimLimit.shrink(from: bytes)
        queue.logger.notice(
            "A server breaks off large requests; claiming fewer messages at a time",
            metadata: ["bytes": "\(bytes)", "limit": "\(claimLimit.bytes ?? 0)"])
        rereadClaims(&commit)
    }

    func size(ofClaiming item: ReadyItem, _ registration: Registration) -> Int {
        ConsumerCommit.moves(item, queue, registration).reduce(0) { $0 + queue.store.size(of: $1) }
    }

    // MARK: Resolving

    /// Reads the version of the consumer's node, which tells whether the step was applied. Every step raises it by one,
    /// and no other client writes there.
    func resolve(_ commit: inout ConsumerCommit) async {
        // What is known of the node is that of the present registration.
        guard registration == commit.registration else { return await sessionHasEnded(&commit) }
        let path = commit.registration.paths.path
        let expected = holdings.version
        while phase != .closed {
            do {
                // Without the `sync`, the read may overtake a step that is still on its way between the servers.
                try await queue.store.sync(path)
                let node = try await queue.store.get(path)
                switch StepOutcome(found: node.stat.version, expected: expected, isUnresolved: commit.isUnresolved) {
                case .applied:
                    applied(commit, commit.plan(queue, holdings), token: node.stat.mzxid)
                    commit.settlements = []
                    commit.claims = []
                case .notApplied: commit.isCertainlyNotApplied()
                case .changedByOthers where commit.isUnresolved:
                    return await nodeWasChanged(&commit, found: node.stat.version)
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

    /// Handles a version of the consumer's node that is lower than before: the servers have lost acknowledged writes,
    /// and nothing that this registration knows is certain any more.
    func ensembleLostWrites(_ commit: inout ConsumerCommit, found version: Int32) async {
        queue.logger.error(
            "The ensemble has lost acknowledged writes; registering the consumer again",
            metadata: [
                "consumer": "\(commit.registration.paths.path)", "expected": "\(holdings.version)",
                "found": "\(version)",
                "advice": "messages may be delivered again; use ZooKeeper 3.9.4 or later, and check the servers' disks",
            ])
        await loseTrack(of: &commit, Self.lostWrites)
    }

    /// Handles a version of the consumer's node that another client has changed, so that it does not tell what became of a
    /// transaction.
    private func nodeWasChanged(_ commit: inout ConsumerCommit, found version: Int32) async {
        queue.logger.error(
            "Another client has written to the consumer's node; registering the consumer again",
            metadata: ["consumer": "\(commit.registration.paths.path)", "found": "\(version)"])
        await loseTrack(of: &commit, Lease.unknownError)
    }

    private func loseTrack(of commit: inout ConsumerCommit, _ error: QueueError) async {
        for index in commit.settlements.indices {
            commit.settlements[index].lease.update(.lost)
            commit.settlements[index].tell(.failure(error))
        }
        commit.settlements = []
        dropClaims(&commit)
        await leaveToRecovery(commit.registration)
    }

    private static let lostWrites = QueueError(
        .outcomeUnknown,
        "The servers have lost writes that they had acknowledged: the message may be settled, or will be delivered again."
    )

    /// Gives up a registration. A recovery gives back what it holds, and the consumer registers again.
    private func leaveToRecovery(_ registration: Registration) async {
        lose(registration)
        await insistOnRemoving { [store = queue.store] in
            // A folder that was restored may have given the name to another consumer.
            guard try await store.exists(registration.paths.active)?.ephemeralOwner == registration.sessionID else {
                return
            }
            try await store.delete(registration.paths.active, version: nil)
        }
    }

    /// Handles the end of the registration's session. This attempt was not applied; an earlier one without an answer
    /// may have been.
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
