/// The result of a push.
public struct JobReceipt: Sendable, Hashable {
    /// The job's ID. For a duplicate, the ID of the job that prevents it from being stored.
    public let id: String
    /// The name of the message's node, for `MessageQueue.message(nodeName:)` and `cancelMessage(nodeName:)`. `nil` for
    /// a duplicate, and for a job that is stored although the reply with the name was lost.
    public let nodeName: String?
    /// Whether an equal job was stored before, so this one was not.
    public let isDuplicate: Bool
}
