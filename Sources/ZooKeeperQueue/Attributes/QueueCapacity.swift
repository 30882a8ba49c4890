/// The capacity of a queue. When it is reached, sends fail or wait.
///
/// A capacity keeps a queue without consumers from filling the servers' memory. The producers of this library enforce
/// it: each one measures the queue's fill level from time to time. Several producers that start at the same moment can
/// therefore exceed the capacity somewhat, and a single send of many messages is admitted as a whole. Producers of
/// older releases and foreign producers ignore the capacity. Messages that return to the queue, from consumers or from
/// the dead letters, are never refused.
public struct QueueCapacity: Sendable, Hashable {
    /// The most messages that are ready; `nil` means no limit. The servers count nodes, so a producer multiplies that
    /// count by the average number of messages in the nodes that it has stored.
    public var messages: Int?
    /// The most bytes that the queue keeps, whether ready, leased or dead: payloads, headers and the queue's own
    /// nodes. `nil` means no limit.
    ///
    /// The servers count the bytes. This requires the permission to create nodes below `/zookeeper/quota`, and that no
    /// node above the queue has a quota.
    public var bytes: Int?

    /// Creates a capacity.
    public init(messages: Int? = nil, bytes: Int? = nil) {
        self.messages = messages
        self.bytes = bytes
    }

    var isNone: Bool { messages == nil && bytes == nil }

    func validate() throws {
        for (name, value) in [("messages", messages), ("bytes", bytes)] {
            if let value, value < 1 {
                throw QueueError(.invalidArgument, "A capacity in \(name) must be at least 1, not \(value).")
            }
        }
    }
}
