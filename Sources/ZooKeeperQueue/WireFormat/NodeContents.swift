/// The messages in a node, for code that inspects a queue from outside, such as the tests.
package struct NodeContents: Sendable {
    package struct Message: Sendable {
        package let name: String
        /// The bytes that were sent, or the data of the whole node when its format is unknown.
        package let payload: [UInt8]
        /// The key of the message's group.
        package var group: String?
    }

    package let messages: [Message]

    /// Decodes a node.
    ///
    /// - Parameters:
    ///   - consumer: the data of the consumer that leases the node. It says which messages are settled.
    ///   - epoch: the data of the queue's epoch, for a node in `items`, whose name is then completed.
    package init(name: String, data: [UInt8], consumer: [UInt8]? = nil, epoch: [UInt8]? = nil) {
        let number = epoch.flatMap { try? SequenceEpoch(data: $0, version: 0).number }
        let item = number.map { ItemName(name, inEpoch: $0) } ?? ItemName(name)
        guard let item, case .batch(let batch) = Envelope.read(data) else {
            messages = [
                Message(name: item?.string ?? name, payload: Self.payload(data), group: Self.envelope(data)?.group)
            ]
            return
        }
        let progress = BatchSettlements(consumer)
        messages = batch.records.enumerated().compactMap { index, record in
            progress.isSettled(index, of: name)
                ? nil : Message(name: item.message(index).string, payload: Self.payload(record))
        }
    }

    private static func payload(_ data: [UInt8]) -> [UInt8] {
        envelope(data)?.payload ?? data
    }

    private static func envelope(_ data: [UInt8]) -> Envelope? {
        guard case .message(let envelope) = Envelope.read(data) else { return nil }
        return envelope
    }
}
