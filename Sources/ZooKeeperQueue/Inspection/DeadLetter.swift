import ZooKeeper

/// A message that was given up.
public struct DeadLetter: Sendable, Hashable {
    /// The name of its node.
    public let name: String
    /// The bytes that were sent, or the whole node when its form is not known.
    public let payload: [UInt8]
    /// The names and values that were sent with the payload.
    public let headers: [String: String]
    /// The id that the message was sent with: see ``OutgoingMessage/id``.
    public let id: String?
    /// Why it was given up.
    public let cause: String
    /// When it was given up, by the ensemble's clock: milliseconds since 1970.
    public let time: Int64

    /// Returns the operations that create a dead letter. Shortens the cause, because they must fit into one request
    /// with the end of a lease.
    static func operations(
        at path: String, data: [UInt8], cause: String, in store: any ZooKeeperStore
    ) -> [Operation] {
        let letter = Operation.create(path, data: data)
        // The other operations of the transaction always fit into the rest.
        let room = store.maximumRequestSize - 2 * store.size(of: .create(path, data: [])) - data.count - 1_024
        let cause = Array(shortened(cause, to: min(maximumCause, max(0, room))).utf8)
        return [letter, .create(path + "/cause", data: cause)]
    }

    /// The longest cause in bytes of UTF-8.
    private static let maximumCause = 4_096

    private static func shortened(_ text: String, to count: Int) -> Substring {
        guard text.utf8.count > count else { return text[...] }
        // Cut between characters, so that it stays readable.
        var end = text.utf8.index(text.startIndex, offsetBy: count)
        while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil {
            end = text.utf8.index(before: end)
        }
        return text[..<end]
    }
}
