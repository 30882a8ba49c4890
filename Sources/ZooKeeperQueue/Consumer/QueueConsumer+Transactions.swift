import CoreMetrics
import Logging
import ZooKeeper

/// The committer: sends transactions until their outcomes are certain.
extension QueueConsumer {
    /// Settles a leased message.
    func settle(_ lease: Lease, by kind: Settlement.Kind) async throws {
        // In a task that is not cancelled: a message must not lose its delay because its handler was cancelled.
        if case .requeue(_, let delay) = kind, delay > .zero { try await Task { try await readClock() }.value }
        // A message that returns stays the head of its group.
        if let group = lease.group, kind != .release { return try await settle(lease, of: group, by: kind) }
        guard let attempt = try lease.beginSettling(by: kind) else { return }
        try await settle(lease, by: kind, attempt)
    }

    /// - Parameter succession: what happens to the message's group.
    func settle(
        _ lease: Lease, by kind: Settlement.Kind, _ attempt: Int, _ succession: GroupSuccession? = nil
    ) async throws {
        // This wait ignores cancellation, because an acknowledgement of completed work is worth waiting for, and
        // every attempt has a deadline.
        try await withCheckedThrowingContinuation { continuation in
            let waiter = SettlementWaiter { continuation.resume(with: $0) }
            lease.waitsForSettlement(waiter)
            var settlement = Settlement(lease: lease, kind: kind, attempt: attempt, waiter: waiter, since: now)
            settlement.succession = succession
            handle { $0.settles(settlement, now: now) }
        }
    }

    /// Settles a leased message together with a transaction of its handler.
    func acknowledge(_ lease: Lease, in transaction: QueueTransaction) async throws {
        // An earlier attempt may have settled the message, or the lease may be lost.
        if try lease.isSettled(by: .acknowledge(.init(transaction, []))) { return }
        // In a task that is not cancelled, like the wait for a settlement.
        try await Task {
            var prepared = try await preparing(lease) {
                try await PreparedTransaction(
                    transaction, on: queue, within: .seconds(30),
                    bytesOfGroup: lease.group == nil ? 0 : MessageEncoder(queue).maximumGroupedSize)
            }
            var retries = GroupSuccession.Retries()
            while true {
                do {
                    if let group = lease.group, prepared.stores(in: group, of: queue.tree) {
                        return try await acknowledge(lease, of: group, in: transaction, &prepared)
                    }
                    return try await settle(lease, by: .acknowledge(.init(transaction, prepared.operations)))
                } catch is GroupSuccession.Outdated {
                    retries = try await preparing(lease) { try await retries.next(in: queue.store) }
                } catch let error as QueueError where error.code == .operationRefused {
                    guard let cause = error.cause, let index = cause.operationIndex else { throw error }
                    prepared = try await preparing(lease) {
                        var next = prepared
                        try await next.refused(at: index, cause)
                        return next
                    }
                }
            }
        }.value
        for send in transaction.sends { send.queue.metrics.sent.increment() }
    }

    /// Prepares a settlement. However definite a failure is, an earlier attempt to settle may have been applied.
    func preparing<Value>(_ lease: Lease, _ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch {
            if lease.state == .lost { throw lease.unresolved.isEmpty ? Lease.lostError : Lease.unknownError }
            guard lease.unresolved.isEmpty else { throw Lease.unresolvedError((error as? QueueError)?.cause) }
            throw error
        }
    }

    /// Returns the settlement of a failed delivery, with the delay of the retry policy.
    ///
    /// - Parameter retry: the policy; `nil` means the queue's.
    func failure(of lease: Lease, _ reason: String, _ retry: RetryPolicy?) -> Settlement.Kind {
        .requeue(
            reason: reason, delay: (retry ?? state.attributes.retry).delay(after: lease.name.redeliveries + 1))
    }

    /// Reads the ensemble's clock, on which the due time of a requeued message depends.
    private func readClock() async throws {
        try await QueueError.translating(while: "settling a message", queue: queue.path) {
            while !state.clock.isFresh(at: now) {
                let start = now
                do {
                    let stat = try await queue.store.probe(below: queue.tree.root)
                    handle { $0.clockRead(stat.mtime, sentAt: start, now: now) }
                } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                    // Repeating it is harmless, and it waits for a connection.
                }
            }
        }
    }

    /// Reads the ensemble's clock, because no reply has told how late it is, and claimed messages may have expired. If
    /// that fails, the clock is only known to have shown the stamp at some time since the transaction was sent.
    private func readClock(after commit: ConsumerTransaction, _ stat: Stat) async {
        do {
            try await readClock()
        } catch {
            handle { $0.clockRead(stat.mtime, sentAt: commit.sentAt ?? .zero, now: now) }
        }
    }

    /// How often in a row the connection breaks at one transaction before its size is suspected. A server closes the
    /// connection at a request that is larger than its `jute.maxbuffer`.
    private static let suspiciousBreaks = 2

    /// Sends a transaction until its outcome is certain. Removes the parts that are refused,
    /// and sends the others again.
    func carryOut(_ commit: ConsumerTransaction) async {
        var commit = commit
        var breaks = 0
        defer { handle { $0.transactionEnded() } }
        while !commit.isEmpty {
            let start = now
            do {
                if state.needsHeldLeases, let version = try await readHeldLeases(commit.registration) {
                    return await ensembleLostWrites(&commit, found: version)
                }
                if state.needsEpoch(for: commit) { try await readEpoch() }
                if state.mustWaitForEpoch(with: commit) {
                    _ = try await queue.reader.sequenceEpoch(after: state.epoch, within: .seconds(1))
                    try await readEpoch()
                }
                handle { $0.refresh(&commit) }
                if commit.isEmpty { return }
            } catch let error as ZooKeeperError where error.isRetryable {
                await unanswered(&commit, error, since: start)
                if state.phase == .closed { return abandon(&commit, error) }
                continue
            } catch let error where !commit.claims.isEmpty && !commit.isUnresolved {
                // The settlements may not need the epoch.
                handle { $0.claimsFailed(&commit, error) }
                continue
            } catch {
                return abandon(&commit, error)
            }
            let plan = commit.plan(queue, state.heldLeases)
            let sentAt = now
            commit.sentAt = commit.sentAt ?? sentAt
            do {
                let results = try await queue.store.multi(plan.operations)
                guard results.count > 1, case .set(let stat) = results[1] else {
                    commit.mayBeApplied()
                    return abandon(&commit, QueueError.mismatchedResults)
                }
                handle { $0.answered(stat.mtime, sentAt: sentAt, now: now) }
                return await applied(commit, plan, token: stat.mzxid)
            } catch let error as ZooKeeperError {
                if error.outcome == .unknown { commit.mayBeApplied() }
                if error.isRetryable {
                    await unanswered(&commit, error, since: start)
                    breaks = error.code == .connectionLoss ? breaks + 1 : 0
                    if breaks >= Self.suspiciousBreaks, commit.isUnresolved { await shrink(&commit, plan) }
                    if state.phase == .closed { return abandon(&commit, error) }
                } else {
                    await refused(&commit, plan, error)
                }
            } catch {
                return abandon(&commit, error)
            }
        }
    }

    func abandon(_ commit: inout ConsumerTransaction, _ error: any Error) { handle { $0.abandon(&commit, error) } }

    private func applied(_ commit: ConsumerTransaction, _ plan: ConsumerTransaction.Plan, token: Int64) async {
        handle { $0.applied(commit, plan, token: token, session: queue.store.sessionState, now: now) }
        if commit.renews || state.mustListLeases(now: now) { await checkLeases(of: commit.registration) }
    }

    private func unanswered(_ commit: inout ConsumerTransaction, _ error: ZooKeeperError, since start: Duration) async {
        handle { $0.unanswered(&commit, error, since: start) }
        await error.pauseIfRefusedAtOnce(queue.store)
    }

    /// Reads the consumer's node, after a transaction was abandoned before its outcome was certain.
    ///
    /// - Returns: the version of the node when it is lower than before, because the servers have lost
    ///   acknowledged writes; otherwise `nil`.
    private func readHeldLeases(_ registration: Registration) async throws -> Int32? {
        guard state.registration == registration else {
            handle { $0.skipHeldLeasesRead() }
            return nil
        }
        do {
            // Without the `sync`, the read may overtake a transaction that is still on its way between the servers.
            try await queue.store.sync(registration.paths.path)
            let node = try await queue.store.get(registration.paths.path)
            let isAtomic = try await queue.store.capabilities.contains(.transactions)
            return handle { $0.heldLeasesRead(node, of: registration, isAtomic: isAtomic) }
        } catch let error as ZooKeeperError where error.code == .noNode {
            // The transaction itself will find that the registration is gone.
            handle { $0.skipHeldLeasesRead() }
            return nil
        }
    }

    /// Tries each part separately, because the refusal does not name the refused part.
    func carryOutSingly(_ commit: inout ConsumerTransaction) async {
        for part in commit.parts { await carryOut(part) }
        commit.clear()
    }

    // MARK: Servers that refuse large requests

    /// Handles a transaction at which the connection breaks repeatedly. If it is large,
    /// smaller transactions may succeed.
    private func shrink(_ commit: inout ConsumerTransaction, _ plan: ConsumerTransaction.Plan) async {
        let bytes = plan.operations.reduce(0) { $0 + queue.store.size(of: $1) }
        guard bytes > ClaimLimit.smallestServerLimit else { return }
        await resolve(&commit)
        // The transaction was applied after all, or its outcome is still unknown.
        if commit.isEmpty || commit.isUnresolved { return }
        let isAlone = commit.claims.count + commit.settlements.count == 1
        if isAlone, !commit.claims.isEmpty {
            handle { $0.skipClaim(0, of: &commit, .connectionClosed(bytes: bytes)) }
        } else if isAlone {
            let error = QueueError(
                .payloadTooLarge,
                "Not settled: the server closes the connection at the request. Raise the servers' jute.maxbuffer above "
                    + "the client's maximumRequestSize (\(queue.store.maximumRequestSize) bytes).")
            handle { $0.fail(&commit, [0], error) }
        } else if commit.claims.isEmpty {
            await carryOutSingly(&commit)
        } else {
            handle { $0.shrinkClaims(from: bytes, &commit) }
        }
    }

    // MARK: Resolving

    /// Reads the version of the consumer's node, which tells whether the transaction was applied. Every transaction
    /// raises it by one, and no other client writes to the node.
    func resolve(_ commit: inout ConsumerTransaction) async {
        // The known version is that of the current registration's node.
        guard state.registration == commit.registration else { return await sessionHasEnded(&commit) }
        let path = commit.registration.paths.path
        let expected = state.heldLeases.version
        while state.phase != .closed {
            do {
                // Without the `sync`, the read may overtake a transaction that is still on its way between the servers.
                try await queue.store.sync(path)
                let node = try await queue.store.get(path)
                switch TransactionOutcome(
                    found: node.stat.version, expected: expected, isUnresolved: commit.isUnresolved)
                {
                case .applied:
                    if commit.claims.contains(where: \.expires) { await readClock(after: commit, node.stat) }
                    await applied(commit, commit.plan(queue, state.heldLeases), token: node.stat.mzxid)
                    return commit.clear()
                case .notApplied: commit.isCertainlyNotApplied()
                case .changedByAnotherClient where commit.isUnresolved:
                    return await nodeWasChanged(&commit, found: node.stat.version)
                case .changedByAnotherClient: break
                case .rolledBack: return await ensembleLostWrites(&commit, found: node.stat.version)
                }
                return handle { $0.heldLeasesFound(node, of: commit.registration) }
            } catch let error as ZooKeeperError where error.code == .noNode {
                return await sessionHasEnded(&commit)
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                return abandon(&commit, error)
            }
        }
        abandon(&commit, Lease.unknownError)
    }

    /// Handles a version of the consumer's node that is lower than before. The servers have lost acknowledged writes,
    /// so nothing that this registration knows is certain any more.
    private func ensembleLostWrites(_ commit: inout ConsumerTransaction, found version: Int32) async {
        queue.logger.error(
            "The ensemble has lost acknowledged writes; registering the consumer again",
            metadata: [
                "consumer": "\(commit.registration.paths.path)", "expected": "\(state.heldLeases.version)",
                "found": "\(version)",
                "advice": "messages may be delivered again; use ZooKeeper 3.9.4 or later, and check the servers' disks",
            ])
        await loseTrack(of: &commit, Self.lostWrites)
    }

    /// Handles a version of the consumer's node that another client has changed, so that it does not tell whether
    /// a transaction was applied.
    private func nodeWasChanged(_ commit: inout ConsumerTransaction, found version: Int32) async {
        queue.logger.error(
            "Another client has written to the consumer's node; registering the consumer again",
            metadata: ["consumer": "\(commit.registration.paths.path)", "found": "\(version)"])
        await loseTrack(of: &commit, Self.nodeChanged)
    }

    private func loseTrack(of commit: inout ConsumerTransaction, _ error: QueueError) async {
        handle { $0.loseTrack(of: &commit, error) }
        await leaveToRecovery(commit.registration)
    }

    private static let lostWrites = Lease.unknownOutcome("The servers lost acknowledged writes.")
    private static let nodeChanged = Lease.unknownOutcome("Another client wrote to the consumer's node.")

    /// Handles the end of the registration's session. This attempt was not applied. An earlier one
    /// without a reply may have been.
    func sessionHasEnded(_ commit: inout ConsumerTransaction) async {
        handle { $0.lose(commit.registration) }
        for settlement in commit.settlements {
            settlement.lease.update(.lost)
            if !settlement.lease.unresolved.isEmpty, await isStillLeased(settlement.lease) {
                settlement.lease.nothingWasApplied()
            }
            handle { $0.leaseWasLost(settlement) }
        }
        handle { $0.drop(&commit) }
    }

    /// Whether the consumer certainly did not end the lease: the lease still exists, and no request of an ended
    /// session can end it any more.
    private func isStillLeased(_ lease: Lease) async -> Bool {
        do {
            // The server of the new session may lag behind.
            try await queue.store.sync(lease.path)
            let consumer = try await queue.store.get(lease.registration.paths.path)
            guard try await queue.store.exists(lease.path) != nil else { return false }
            guard let index = lease.index else { return true }
            return !BatchSettlements(consumer.data).isSettled(index, of: lease.node)
        } catch {
            return false
        }
    }
}
