import ZooKeeper

/// A node that holds messages, as it was read and before a consumer claims it: one message, or a batch.
struct MessageNode: Sendable {
    /// Its name, and where it stands among the ready messages.
    let entry: ReadyList.Entry
    /// The node's bytes.
    let data: [UInt8]
    let stat: Stat
    let messages: [Message]

    struct Message: Sendable {
        let name: ItemName
        /// Its place in the batch; `nil` when it stands alone.
        let index: Int?
        /// The bytes that a node of its own has.
        let data: [UInt8]
        let envelope: Envelope
    }

    var name: ItemName { entry.name }

    /// The assumed size of a node in bytes before one was read. It keeps the first read of long messages small.
    static let assumedSize = 64 << 10

    /// - Returns: `nil` when this library does not know the form of the node's data.
    init?(_ entry: ReadyList.Entry, node: Node) {
        let data = node.data ?? []
        guard let messages = Self.messages(in: data, of: entry.name) else { return nil }
        self.entry = entry
        self.data = data
        self.messages = messages
        stat = node.stat
    }

    /// Returns the messages that the data of the node of this name holds.
    ///
    /// - Returns: `nil` when this library does not know the form of the data.
    static func messages(in data: [UInt8], of name: ItemName) -> [Message]? {
        switch Envelope.read(data) {
        case .message(let envelope): return [Message(name: name, index: nil, data: data, envelope: envelope)]
        case .batch(let batch):
            // A message that was in a batch once stands alone, and is no batch itself.
            guard name.index == nil else { return nil }
            var messages: [Message] = []
            for (index, record) in batch.records.enumerated() {
                guard case .message(let envelope) = Envelope.read(record) else { return nil }
                messages.append(Message(name: name.message(index), index: index, data: record, envelope: envelope))
            }
            return messages
        case .unknown: return nil
        }
    }
}
