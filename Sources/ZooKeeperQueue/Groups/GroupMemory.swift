/// What a producer remembers of the groups that it sends to: a value.
///
/// A batch depends on the states of its groups, and ZooKeeper refuses it as a whole when one of them has begun or ended
/// in the meantime. A producer that sends to groups whose states stay the same, because consumers lag behind, does not
/// read the states again for each batch. Otherwise it reads them just before it sends.
struct GroupMemory: Sendable {
    /// The maximum number of messages of groups in a batch. The more groups a batch has, the more often ZooKeeper
    /// refuses it, so the limit falls with each refusal and rises with each success.
    private(set) var maximumMessages = largestLimit

    private var states: [GroupKey: GroupState] = [:]
    /// Whether the states of the last batch were those that were remembered.
    private var areStable = false

    /// How many batches were refused since one was stored.
    private var refusals = 0

    private static let largestLimit = 400
    /// How many attempts follow each other at once. A single message needs more only if its group begins and ends all
    /// the time.
    private static let immediateAttempts = 10
    /// The most groups that are remembered.
    private static let maximumGroups = 100_000

    /// Returns the states to use for a batch; `nil` when they must be read.
    func states(of groups: Set<GroupKey>) -> [GroupKey: GroupState]? {
        guard areStable else { return nil }
        var known: [GroupKey: GroupState] = [:]
        for group in groups {
            guard let state = states[group] else { return nil }
            known[group] = state
        }
        return known
    }

    /// Records that a batch was stored which depended on these states.
    mutating func stored(_ used: [GroupKey: GroupState], messages: Int) {
        if used.isEmpty { return }
        refusals = 0
        if messages >= maximumMessages {
            maximumMessages = min(Self.largestLimit, maximumMessages + max(1, maximumMessages / 4))
        }
        areStable = used.allSatisfy { states[$0.key] == $0.value }
        if states.count + used.count > Self.maximumGroups { states = [:] }
        for (group, state) in used { states[group] = state.afterSend }
    }

    /// Records that ZooKeeper has refused a batch because of a group.
    ///
    /// - Returns: whether to wait before the next attempt, because the last ones were refused too.
    mutating func refused(messages: Int) -> Bool {
        maximumMessages = max(1, min(maximumMessages, messages / 2))
        areStable = false
        refusals += 1
        return refusals > Self.immediateAttempts
    }
}
