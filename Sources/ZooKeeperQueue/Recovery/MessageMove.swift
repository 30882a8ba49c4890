import ZooKeeper

/// The way of a node's messages from one place to others: a delete, and a create for each message.
struct MessageMove {
    struct Message {
        var path: String
        let data: [UInt8]?
    }
    let from: String
    let version: Int32
    let store: any ZooKeeperStore
    var messages: [Message] = []
    /// Why the messages go to the dead letters; `nil` when they go elsewhere.
    var cause: String?

    var operations: [Operation] {
        [.delete(from, version: version)]
            + messages.flatMap { message in
                guard let cause else { return [Operation.create(message.path, data: message.data)] }
                return DeadLetter.operations(at: message.path, data: message.data ?? [], cause: cause, in: store)
            }
    }

    /// Gives a message another name when its own is taken, by a message from before the server's numbers began anew.
    mutating func takeNextName(ofOperation index: Int) {
        let index = (index - 1) / (cause == nil ? 1 : 2)
        guard messages.indices.contains(index) else { return }
        let path = messages[index].path
        let name = NodePath.name(of: path)
        let next = ItemName(name).map { $0.with(returns: $0.returns + 1).string } ?? "\(name)-\(UniqueName.make())"
        messages[index].path = path.dropLast(name.count) + next
    }
}
