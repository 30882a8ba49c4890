import Synchronization
import ZooKeeper

/// The lease of one message, shared by the consumer and the message that was handed out.
final class Lease: Sendable {
    let name: ItemName
    /// The name of the leased node, which may hold several messages.
    let nodeName: ItemName
    /// The same name, as used in the tree.
    let node: String
    /// The index among the messages of the node; `nil` for a node with one message.
    let index: Int?
    /// The data of a node for this message alone. It is written when the message is requeued.
    let data: [UInt8]
    let envelope: Envelope
    /// The message's group, whose head it is.
    let group: GroupKey?
    /// The message that follows in the group, if it was read before.
    let successor: GroupSuccession.Successor?
    /// The name that the next message of the group most likely has.
    let next: ItemName?
    let stat: Stat
    let fencingToken: Int64
    /// When the message was claimed, by the store's clock.
    let claimedAt: Duration
    /// The registration whose session the lease depends on.
    let registration: Registration

    private struct State {
        var lease = LeaseState.held
        /// Whether a settlement is in progress, so that a second one is refused.
        var isSettling = false
        /// Whether the consumer settles the message because it has expired.
        var isExpiring = false
        /// The caller of the last settlement.
        var settler: SettlementWaiter?
        /// How many settlements have begun.
        var attempts = 0
        /// The settlements that were sent without a reply, by their numbers. One of them may have been applied.
        var unresolved: [Int: Settlement.Kind] = [:]
        var unresolvedKinds: Set<Settlement.Kind> { Set(unresolved.values) }
        var waiters: [UInt64: CheckedContinuation<LeaseState, Never>] = [:]
        var nextWaiter: UInt64 = 0
    }
    private let storage = Mutex(State())

    init(
        _ message: MessageNode.Message, of node: MessageNode, fencingToken: Int64, claimedAt: Duration,
        registration: Registration
    ) {
        name = message.name
        nodeName = node.name
        self.node = node.name.string
        index = message.index
        data = message.data
        envelope = message.envelope
        group = message.envelope.group.flatMap { GroupKey($0) }
        successor = node.successor
        next = message.envelope.groupNumber.flatMap(message.name.next(after:))
        stat = node.stat
        self.fencingToken = fencingToken
        self.claimedAt = claimedAt
        self.registration = registration
    }

    /// The path of the leased node.
    var path: String { registration.paths.lease(node) }

    var state: LeaseState { storage.withLock { $0.lease } }

    /// Whether the consumer settles the message because it has expired. It then counts only as expired.
    var isExpiring: Bool {
        get { storage.withLock { $0.isExpiring } }
        set { storage.withLock { $0.isExpiring = newValue } }
    }

    // MARK: Settling

    /// Begins a settlement. Only one can be in progress at a time, and only one can succeed.
    ///
    /// - Returns: the number of the attempt; `nil` when the message is settled already by an earlier attempt of the
    ///   same kind, whose caller was told that no response arrived.
    /// - Throws: ``QueueError/Code/leaseLost``, ``QueueError/Code/outcomeUnknown`` when the lease is lost and an
    ///   earlier attempt may have been applied, ``QueueError/Code/alreadySettled``.
    func beginSettling(by kind: Settlement.Kind) throws -> Int? {
        try storage.withLock { state in
            switch state.lease {
            case .lost: throw state.unresolved.isEmpty ? Self.lostError : Self.unknownError
            case .settled where state.unresolvedKinds == [kind]:
                state.unresolved = [:]
                return nil
            case .settled: throw QueueError(.alreadySettled, "The message is already settled. Nothing was changed.")
            case .held, .suspended:
                guard !state.isSettling else {
                    throw QueueError(
                        .alreadySettled, "Another call is already settling the message. This call changed nothing.")
                }
                state.isSettling = true
                state.attempts += 1
                return state.attempts
            }
        }
    }

    /// Whether the message is settled already by an earlier attempt of the same kind, whose caller was told that no
    /// response arrived.
    ///
    /// - Throws: the same errors as ``beginSettling(by:)``.
    func isSettled(by kind: Settlement.Kind) throws -> Bool {
        guard try beginSettling(by: kind) != nil else { return true }
        settlingFailed()
        return false
    }

    func waitsForSettlement(_ waiter: SettlementWaiter) { storage.withLock { $0.settler = waiter } }

    /// Tells the caller of a settlement in progress, if there is one, that its outcome is unknown.
    func abandonSettlement() {
        let settler = storage.withLock { state in
            defer { state.settler = nil }
            return state.settler
        }
        settler?.resume(with: .failure(Self.unknownError))
    }

    /// Records that the settlement failed. It may be tried again unless the lease is lost.
    func settlingFailed() { storage.withLock { $0.isSettling = false } }

    /// The kinds of the settlements without a reply. One of them may have been applied.
    var unresolved: Set<Settlement.Kind> { storage.withLock { $0.unresolvedKinds } }

    /// Records that an attempt was sent without a reply.
    func isUnresolved(_ attempt: Int, by kind: Settlement.Kind) { storage.withLock { $0.unresolved[attempt] = kind } }

    /// Records that an attempt was certainly not applied.
    func wasNotApplied(_ attempt: Int) { storage.withLock { $0.unresolved[attempt] = nil } }

    /// Records that an attempt was applied whose caller was told that no response arrived.
    func wasApplied(_ attempt: Int, by kind: Settlement.Kind) { storage.withLock { $0.unresolved = [attempt: kind] } }

    /// Records that no attempt was applied.
    func nothingWasApplied() { storage.withLock { $0.unresolved = [:] } }

    static let lostError = QueueError(
        .leaseLost,
        "Lease lost: the session ended or the lease was taken away, and the message has been or will be redelivered. "
            + "Nothing was changed."
    )

    static let unknownError = unknownOutcome("The lease ended before a response arrived.")

    /// Returns the error for a settlement that got no reply, and can be tried again.
    static func unresolvedError(_ cause: ZooKeeperError?) -> QueueError {
        QueueError(
            .outcomeUnknown,
            "No response arrived, so the message may or may not be settled. Settle it again in the same way to find out.",
            cause: cause)
    }

    /// Returns the error for a settlement whose outcome can no longer be determined.
    static func unknownOutcome(_ reason: String) -> QueueError {
        QueueError(
            .outcomeUnknown,
            "\(reason) It is unknown whether the message was settled. If it was not, it will be redelivered.")
    }

    // MARK: States

    /// Changes the state. The states `lost` and `settled` are final.
    func update(_ new: LeaseState) {
        let waiters = storage.withLock { state -> [CheckedContinuation<LeaseState, Never>] in
            guard state.lease != .lost, state.lease != .settled, state.lease != new else { return [] }
            state.lease = new
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: new) }
    }

    /// Returns the state once it differs from the given one, or at once when the task is cancelled.
    func change(from old: LeaseState) async -> LeaseState {
        let id = storage.withLock { state in
            defer { state.nextWaiter += 1 }
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let current = storage.withLock { state -> LeaseState? in
                    if state.lease != old || Task.isCancelled { return state.lease }
                    state.waiters[id] = continuation
                    return nil
                }
                if let current { continuation.resume(returning: current) }
            }
        } onCancel: {
            let (waiter, current) = storage.withLock { ($0.waiters.removeValue(forKey: id), $0.lease) }
            waiter?.resume(returning: current)
        }
    }
}
