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

    /// The creates that make a dead letter.
    static func operations(at path: String, data: [UInt8], cause: String) -> [Operation] {
        [
            .create(path, data: data),
            .create(path + "/cause", data: Array(cause.utf8.prefix(4_096))),
        ]
    }
}
