import ZooKeeper

/// The move of a node's messages to other paths: one delete, and a create for each message.
struct MessageMove {
    struct Message {
        var path: String
        let data: [UInt8]?
    }
    let from: String
    let version: Int32
    let store: any ZooKeeperStore
    var messages: [Message] = []
    /// Why the messages are dead-lettered; `nil` when they are not.
    var cause: String?

    var operations: [ZooKeeperOperation] {
        [.delete(from, version: version)]
            + messages.flatMap { message in
                guard let cause else { return [ZooKeeperOperation.create(message.path, data: message.data)] }
                return DeadLetter.operations(at: message.path, data: message.data ?? [], cause: cause, in: store)
            }
    }

    /// Gives a message another name, because a message from before a sequence rollover has the same one.
    mutating func takeNextName(ofOperation index: Int) {
        let index = (index - 1) / (cause == nil ? 1 : 2)
        guard messages.indices.contains(index) else { return }
        let path = messages[index].path
        let name = NodePath.name(of: path)
        let next =
            ItemName(name).map { $0.with(redeliveries: $0.redeliveries + 1).string } ?? "\(name)-\(RandomName.make())"
        messages[index].path = path.dropLast(name.count) + next
    }
}
