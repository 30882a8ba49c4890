import ZooKeeper

/// A node with one message or a batch, as read before a consumer claims it.
struct MessageNode: Sendable {
    /// The node's name, and its position among the ready messages.
    let entry: ReadyList.Entry
    /// The node's data.
    let data: [UInt8]
    let stat: Stat
    let messages: [Message]
    /// The message that follows in the group, if the node is the head of one, and if the follower was read.
    var successor: GroupSuccession.Successor?

    struct Message: Sendable {
        let name: ItemName
        /// The index in the batch; `nil` for a single message.
        let index: Int?
        /// The data of a node for this message alone.
        let data: [UInt8]
        let envelope: Envelope
    }

    var name: ItemName { entry.name }
    var isHeadOfGroup: Bool { messages.first?.envelope.group != nil }
    /// The bytes that were read.
    var bytes: Int {
        guard case .follower(_, let node)? = successor else { return data.count }
        return data.count + (node.data?.count ?? 0)
    }
    /// Whether one of the messages expires at some time.
    var expires: Bool { messages.contains { $0.envelope.expiresAt != nil } }

    /// The assumed size of a node, in bytes, before one was read. It keeps the first read of long messages small.
    static let assumedSize = 64 << 10

    /// Returns `nil` when this library does not know the format of the node's data.
    init?(_ entry: ReadyList.Entry, node: Node) {
        let data = node.data ?? []
        guard let messages = Self.messages(in: data, of: entry.name) else { return nil }
        self.entry = entry
        self.data = data
        self.messages = messages
        stat = node.stat
    }

    /// Decodes the messages in the data of a node with this name.
    ///
    /// - Returns: `nil` when this library does not know the format of the data.
    static func messages(in data: [UInt8], of name: ItemName) -> [Message]? {
        switch Envelope.read(data) {
        case .message(let envelope): return [Message(name: name, index: nil, data: data, envelope: envelope)]
        case .batch(let batch):
            // A message that has left a batch is stored alone, and is no batch itself.
            guard name.index == nil else { return nil }
            var messages: [Message] = []
            for (index, record) in batch.records.enumerated() {
                // The messages of a group are delivered one after the other, so none is stored with others.
                guard case .message(let envelope) = Envelope.read(record), envelope.group == nil else { return nil }
                messages.append(Message(name: name.message(index), index: index, data: record, envelope: envelope))
            }
            return messages
        case .unknown: return nil
        }
    }
}
