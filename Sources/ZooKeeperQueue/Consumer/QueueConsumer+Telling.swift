import DequeModule
import Logging
import ZooKeeper

/// What those are told who settle messages, when a step has ended.
extension QueueConsumer {
    func succeed(_ settlement: Settlement) {
        var settlement = settlement
        settlement.lease.update(.settled)
        forget(settlement.lease)
        if case .giveBack(let reason) = settlement.kind {
            noteGivenBack(settlement)
            queue.logger.debug(
                "Gave a message back",
                metadata: ["message": "\(settlement.lease.name.string)", "reason": "\(reason ?? "none")"])
        }
        settlement.tell(.success(()))
    }

    /// The lease was ended by an earlier attempt whose answer was lost, or by somebody who may not.
    func leaseIsGone(_ settlement: Settlement) {
        let lease = settlement.lease
        if lease.unresolved == [settlement.kind] { return succeed(settlement) }
        lease.update(lease.unresolved.isEmpty ? .lost : .settled)
        forget(lease)
        let earlier = QueueError(
            .alreadySettled,
            "The message was settled by an earlier attempt of another kind, whose answer was lost; nothing was changed."
        )
        let isEarlier = !lease.unresolved.isEmpty && !lease.unresolved.contains(settlement.kind)
        var settlement = settlement
        settlement.tell(
            .failure(lease.unresolved.isEmpty ? Lease.lostError : isEarlier ? earlier : Lease.unknownError))
    }

    func fail(_ commit: inout ConsumerCommit, _ numbers: [Int], _ error: any Error) {
        for number in numbers { fail(&commit.settlements[number], error) }
        commit.remove(numbers)
    }

    func fail(_ settlement: inout Settlement, _ error: any Error) {
        guard settlement.waiter != nil else { return }
        let lease = settlement.lease
        lease.settlingFailed()
        let cause = error as? ZooKeeperError
        let told = cause.map { QueueError($0, while: "settling a message", queue: queue.path) } ?? error
        // However definite the last attempt's failure, an earlier one may have been applied.
        let isUnknown = !lease.unresolved.isEmpty && (told as? QueueError)?.code != .outcomeUnknown
        let unknown = QueueError(
            .outcomeUnknown, "No answer came: the message may be settled as was asked, or still be held.", cause: cause)
        settlement.tell(.failure(isUnknown ? unknown : told))
    }

    /// Nothing more can be learnt or done about it.
    func abandon(_ commit: ConsumerCommit, _ error: any Error) {
        var commit = commit
        abandon(&commit, error)
    }

    func abandon(_ commit: inout ConsumerCommit, _ error: any Error) {
        if commit.isUnresolved { mustReadHoldings = true }
        fail(&commit, Array(commit.settlements.indices), error)
        if !commit.claims.isEmpty {
            dropClaims(&commit)
            fail(error)
        }
    }

    /// Reads again what was not claimed, and what comes after it. The list stays.
    func rereadClaims(_ commit: inout ConsumerCommit) {
        let items = commit.claims
        commit.claims = []
        claiming = []
        reread(items)
    }

    /// What is not claimed now is looked at anew, with all that comes after it.
    func dropClaims(_ commit: inout ConsumerCommit) {
        commit.claims = []
        claiming = []
        forgetList()
    }
}
