import ZooKeeper

/// A ready node as it was read, before it is claimed: one message, or several.
struct ReadyItem: Sendable {
    let listed: ListedItem
    /// The node's bytes.
    let data: [UInt8]
    let stat: Stat
    let messages: [Message]

    struct Message: Sendable {
        let name: ItemName
        /// Its place among the messages of the node; `nil` when it stands alone.
        let index: Int?
        /// The bytes that a node of its own has.
        let data: [UInt8]
        let envelope: Envelope
    }

    var name: ItemName { listed.name }

    /// The assumed size of a node in bytes before one was read. It keeps the first read of long messages small.
    static let assumedSize = 64 << 10

    /// - Returns: `nil` when the node's form is not known to this library.
    init?(_ listed: ListedItem, node: Node) {
        let (name, data) = (listed.name, node.data ?? [])
        self.listed = listed
        self.data = data
        stat = node.stat
        switch Envelope.read(data) {
        case .message(let envelope): messages = [Message(name: name, index: nil, data: data, envelope: envelope)]
        case .batch(let batch):
            // What was one message of a batch stands alone.
            guard name.index == nil else { return nil }
            var messages: [Message] = []
            for (index, record) in batch.records.enumerated() {
                guard case .message(let envelope) = Envelope.read(record) else { return nil }
                messages.append(Message(name: name.message(index), index: index, data: record, envelope: envelope))
            }
            self.messages = messages
        case .unknown: return nil
        }
    }
}
