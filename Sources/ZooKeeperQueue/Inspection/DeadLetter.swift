import ZooKeeper

/// A message that was moved to the dead letters.
public struct DeadLetter: Sendable, Hashable {
    /// The name of the message's node.
    public let nodeName: String
    /// The bytes that were sent, or the data of the whole node when its format is unknown.
    public let payload: [UInt8]
    /// The headers that were sent with the payload.
    public let headers: [String: String]
    /// The ID that the message was sent with. See ``OutgoingMessage/id``.
    public let id: String?
    /// Why the message was dead-lettered.
    public let reason: String
    /// When the message was dead-lettered.
    public let deadLetteredAt: EnsembleTime

    /// Returns the operations that create a dead letter. Shortens the cause, because the operations must fit into one
    /// request together with the end of a lease.
    static func operations(
        at path: String, data: [UInt8], cause: String, in store: any ZooKeeperStore
    ) -> [ZooKeeperOperation] {
        let letter = ZooKeeperOperation.create(path, data: data)
        // The remainder is always enough for the other operations of the transaction.
        let budget = store.maximumRequestSize - 2 * store.size(of: .create(path, data: [])) - data.count - 1_024
        let cause = Array(shortened(cause, to: min(maximumCause, max(0, budget))).utf8)
        return [letter, .create(path + "/cause", data: cause)]
    }

    /// The longest cause, in bytes of UTF-8.
    private static let maximumCause = 4_096

    private static func shortened(_ text: String, to count: Int) -> Substring {
        guard text.utf8.count > count else { return text[...] }
        // Cut between characters, because the text must stay valid UTF-8.
        var end = text.utf8.index(text.startIndex, offsetBy: count)
        while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil {
            end = text.utf8.index(before: end)
        }
        return text[..<end]
    }
}
