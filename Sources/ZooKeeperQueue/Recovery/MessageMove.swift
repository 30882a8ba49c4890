import ZooKeeper

/// The move of a node's messages to other paths: one delete, and a create for each message.
struct MessageMove {
    struct Message {
        var path: String
        let data: [UInt8]?
        /// Whether the server completes the name with the next sequence number.
        var isNumbered = false
    }
    let from: String
    let version: Int32
    let store: any ZooKeeperStore
    var messages: [Message] = []
    /// The slot of delayed messages to which the message moves, which may have to be created.
    var slot: DelaySlot?
    /// Why the messages are dead-lettered; `nil` when they are not.
    var cause: String?
    /// What happens to the group that the message leaves.
    var succession: GroupSuccession?
    /// The group that the message leaves, or of which it becomes a dead letter.
    var group: GroupKey?
    /// How many messages end with the node without being moved.
    var deleted = 0
    var count: Int { messages.count + deleted }

    var operations: [ZooKeeperOperation] { ownOperations + groupOperations }

    /// Whether the operation with this index concerns the group of the message.
    func concernsGroup(_ operation: Int) -> Bool { operation >= ownOperations.count }

    private var groupOperations: [ZooKeeperOperation] {
        guard let succession, let letter = messages.first else { return [] }
        if cause == nil { return succession.operations }
        return succession.operations(deadLettering: NodePath.name(of: letter.path))
    }

    private var ownOperations: [ZooKeeperOperation] {
        [.delete(from, version: version)]
            + messages.flatMap { message in
                guard let cause else {
                    let mode: CreateMode = message.isNumbered ? .persistentSequential : .persistent
                    return [ZooKeeperOperation.create(message.path, data: message.data, mode: mode)]
                }
                return DeadLetter.operations(at: message.path, data: message.data ?? [], cause: cause, in: store)
            }
    }

    /// Gives a message another name, because a message from before a sequence rollover has the same one.
    ///
    /// - Returns: `false` when the server chooses the name, and refuses because it has no number left.
    mutating func takeNextName(ofOperation index: Int) -> Bool {
        let index = (index - 1) / (cause == nil ? 1 : 2)
        guard messages.indices.contains(index) else { return true }
        if messages[index].isNumbered { return false }
        let path = messages[index].path
        let name = NodePath.name(of: path)
        let next =
            ItemName(name).map { $0.with(redeliveries: $0.redeliveries + 1).string } ?? "\(name)-\(RandomName.make())"
        messages[index].path = path.dropLast(name.count) + next
        return true
    }
}
