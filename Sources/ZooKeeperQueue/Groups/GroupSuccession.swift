import ZooKeeper

/// What happens to a message group when its head leaves the queue: a value, read before the transaction that removes
/// the head.
///
/// Its operations belong to that transaction. ZooKeeper refuses them when the group has changed since it was read, for
/// example because another message was sent to it. Then it must be read again.
struct GroupSuccession: Sendable {
    enum Successor: Sendable {
        /// The next message moves to the end of the ready messages.
        case follower(name: ItemName, Node)
        /// There is no other message, so the group ends.
        case none
        /// Only unusable children are left: their names are not those of messages, or they cannot be read or moved. The
        /// group's node has this version, and each new follower raises it.
        case unusable(version: Int32)
        /// The group's node is missing, because another client deleted it.
        case missing
    }

    let key: GroupKey
    let tree: QueueTree
    let successor: Successor
    /// The version of the group's node, if the head blocks the group.
    var blockedVersion: Int32?
    /// Whether a dead letter blocks its group.
    var stopsAtDeadLetters = false
    /// Whether a head that waits for a retry leaves its group.
    var goesOnDuringRetries = false

    /// Adopts the queue's policy.
    mutating func use(_ attributes: QueueAttributes) {
        (stopsAtDeadLetters, goesOnDuringRetries) = (
            attributes.deadLetterBlocksGroup, !attributes.retryBlocksGroup
        )
    }

    private var path: String { tree.group(key) }

    /// The path of the next message.
    var followerPath: String? {
        guard case .follower(let name, _) = successor else { return nil }
        return "\(path)/\(name.untagged)"
    }
    /// The bytes of the next message.
    var bytes: Int {
        guard case .follower(_, let node) = successor else { return 0 }
        return node.data?.count ?? 0
    }

    /// Whether the operations create a node in `items`.
    var createsItem: Bool { if case .follower = successor { true } else { false } }

    /// Returns the operations for a head that becomes the dead letter with this name.
    func operations(deadLettering name: String) -> [ZooKeeperOperation] {
        guard stopsAtDeadLetters else { return operations }
        if case .missing = successor { return [] }
        return [.set(path, data: GroupState.data(blockedBy: name), version: nil)]
    }

    /// Whether a message stored in the same transaction can become the head. `version` is set if the group's node
    /// cannot be deleted, and must be set at that version instead.
    var place: (isFree: Bool, version: Int32?) {
        switch successor {
        case .none: (true, nil)
        case .unusable(let version): (true, version)
        case .follower, .missing: (false, nil)
        }
    }

    var operations: [ZooKeeperOperation] {
        switch successor {
        case .follower(let name, let node):
            let unblock = blockedVersion.map { [ZooKeeperOperation.set(path, data: [], version: $0)] } ?? []
            return unblock + [
                .delete("\(path)/\(name.untagged)", version: node.stat.version),
                .create(
                    tree.item(ItemName.prefix(priority: name.priority)),
                    data: Envelope.promoted(node.data, in: key, number: name.sequence), mode: .persistentSequential),
            ]
        case .none: return [.delete(path, version: blockedVersion)]
        case .unusable(let version): return [.set(path, data: GroupState.dataWhenIdle, version: version)]
        case .missing: return []
        }
    }

    /// Skips the next message from now on, if ZooKeeper refuses to move it because it has children.
    func note(_ error: ZooKeeperError, in queue: MessageQueue) {
        if error.code == .notEmpty, let followerPath { queue.skipped.skip(followerPath, error) }
    }

    /// The group has changed since it was read.
    struct Outdated: Error {
        /// The ZooKeeper errors that mean that the group has changed.
        static let codes: [ZooKeeperError.Code] = [.noNode, .nodeExists, .badVersion, .notEmpty]
    }

    /// The attempts to settle the head of a group: a value.
    ///
    /// The group changes during an attempt when a message is sent to it just after it was read. So a few attempts are
    /// enough, unless the sequence numbers are exhausted.
    struct Retries {
        private var count = 0

        private static let limit = 100
        /// How many attempts follow each other at once.
        private static let immediate = 3

        /// Waits for the next attempt.
        ///
        /// - Returns: the attempts with the next one.
        /// - Throws: ``QueueError/Code/timedOut`` after too many attempts.
        func next(in store: any ZooKeeperStore) async throws -> Retries {
            var next = self
            next.count += 1
            guard next.count < Self.limit else {
                throw QueueError(
                    .timedOut,
                    "The message is unchanged: its group changed at each attempt, or the sequence numbers are "
                        + "exhausted. Run a QueueRecovery, and try again.")
            }
            if next.count > Self.immediate { try await store.sleep(for: .milliseconds(50)) }
            return next
        }
    }
}
