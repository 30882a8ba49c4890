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
        /// Only nodes are left that nobody can use. The group's node has this version.
        case unusable(version: Int32)
        /// The group's node does not exist, which only other clients cause.
        case missing
    }

    let key: GroupKey
    let tree: QueueTree
    let successor: Successor
    /// The version of the group's node, if the head blocks the group.
    var blockedVersion: Int32?
    /// Whether a dead letter blocks its group.
    var stopsAtDeadLetters = false

    private var path: String { tree.group(key) }

    /// Whether the operations create a node in `items`.
    var createsItem: Bool { if case .follower = successor { true } else { false } }

    /// Returns the operations for a head that becomes the dead letter with this name.
    func operations(deadLettering name: String) -> [ZooKeeperOperation] {
        guard stopsAtDeadLetters else { return operations }
        if case .missing = successor { return [] }
        return [.set(path, data: GroupState.data(blockedBy: name), version: nil)]
    }

    /// Whether a message that the same transaction stores can take the place of the head.
    var leavesPlace: Bool {
        switch successor {
        case .none, .unusable: true
        case .follower, .missing: false
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

    /// The group has changed since it was read.
    struct Outdated: Error {
        /// ZooKeeper's refusals that mean so.
        static let codes: [ZooKeeperError.Code] = [.noNode, .nodeExists, .badVersion, .notEmpty]
    }
}
