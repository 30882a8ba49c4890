import ZooKeeper

/// Handles a refused transaction and its parts.
extension QueueConsumer {
    /// Handles the refusal of one part of a transaction. Either nothing of the transaction was applied, or an earlier
    /// attempt was applied as a whole.
    func refused(_ commit: inout ConsumerTransaction, _ plan: ConsumerTransaction.Plan, _ error: ZooKeeperError) async {
        guard let index = error.operationIndex, plan.parts.indices.contains(index) else {
            return await refusedAsAWhole(&commit, error)
        }
        switch plan.parts[index] {
        case .session where error.code == .noNode, .registration where error.code == .noNode:
            return await sessionHasEnded(&commit)
        case .registration where error.code == .badVersion: return await resolve(&commit)
        // The refusal does not tell whether the consumer's node had the expected version.
        case .session, .registration: return abandon(&commit, error)
        // The node had that version, so no earlier attempt was applied.
        default: commit.isCertainlyNotApplied()
        }
        switch plan.parts[index] {
        case .session, .registration: break
        case .epoch:
            if error.code == .badVersion {
                handle { $0.epochIsOver(&commit) }
            } else if await !restoresMissingFolder(error) {
                abandon(&commit, error)
            }
        case .lease(let numbers): handle { $0.refusedLease(numbers, of: &commit, error) }
        case .settlement(let number):
            await refused(settlement: number, of: &commit, at: plan.operationIndices[index], error)
        case .wholeRelease(let numbers):
            if error.code == .nodeExists, !commit.releasesSingly {
                commit.releasesSingly = true
            } else if await !restoresMissingFolder(error) {
                handle { $0.fail(&commit, numbers, error) }
            }
        case .claim(let number): await refused(claim: number, of: &commit, at: plan.operationIndices[index], error)
        case .position:
            handle { $0.positionIsGone(of: &commit) }
            if error.code != .noNode { abandon(&commit, error) }
        }
    }

    private func refused(
        settlement number: Int, of commit: inout ConsumerTransaction, at operation: Int, _ error: ZooKeeperError
    ) async {
        let settlement = commit.settlements[number]
        if settlement.concernsGroup(
            operation, queue, commit.epoch, maximumDeliveries: commit.maximumDeliveries)
        {
            // `items` may have been removed, in which the next message becomes ready.
            if settlement.succession?.createsItem ?? false, await restoresMissingFolder(error) { return }
            settlement.succession?.note(error, in: queue)
            let refusal: any Error =
                GroupSuccession.Outdated.codes.contains(error.code) ? GroupSuccession.Outdated() : error
            return handle { $0.fail(&commit, [number], refusal) }
        }
        if case .acknowledge = settlement.kind {
            let refusal = QueueError(operation: operation, refused: error)
            return handle { $0.fail(&commit, [number], refusal) }
        }
        if error.code == .nodeExists, commit.settlements[number].canTakeAnotherName {
            // A message with that name is left from before a sequence rollover.
            commit.settlements[number].extraRedeliveries += 1
        } else if error.code == .noNode,
            let slot = commit.settlements[number].slot(maximumDeliveries: commit.maximumDeliveries), await creates(slot)
        {
            // The next attempt finds the slot.
        } else if await !restoresMissingFolder(error) {
            handle { $0.fail(&commit, [number], error) }
        }
    }

    /// Creates a slot of delayed messages.
    ///
    /// - Returns: `false` when it cannot be created.
    private func creates(_ slot: DelaySlot) async -> Bool {
        do {
            try await queue.folders.createSlots([slot])
            return true
        } catch let error as ZooKeeperError where error.isRetryable {
            await error.pauseIfRefusedAtOnce(queue.store)
            return true
        } catch {
            return false
        }
    }

    private func refused(
        claim number: Int, of commit: inout ConsumerTransaction, at operation: Int, _ error: ZooKeeperError
    ) async {
        if handle({ $0.refusedClaim(number, of: &commit, at: operation, error) }) == .parentIsGone {
            await leaveToRecovery(commit.registration)
        }
    }

    /// Whether the refusal came from a missing folder, which now exists again.
    private func restoresMissingFolder(_ error: ZooKeeperError) async -> Bool {
        guard error.code == .noNode else { return false }
        return await restoreFolders()
    }

    private func refusedAsAWhole(_ commit: inout ConsumerTransaction, _ error: ZooKeeperError) async {
        if commit.isUnresolved { return abandon(&commit, error) }
        guard commit.settlements.count + commit.claims.count > 1 else {
            if !commit.claims.isEmpty, error.concernsOneNode {
                return handle { $0.skipClaim(0, of: &commit, SkippedNode.Reason(error)) }
            }
            return abandon(&commit, error)
        }
        await carryOutSingly(&commit)
    }
}
