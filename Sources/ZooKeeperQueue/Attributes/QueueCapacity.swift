/// The capacity of a queue. When it is reached, sends fail or wait.
///
/// A capacity keeps a queue without consumers from filling the servers' memory. The producers of this library enforce
/// it: each one measures the queue's fill level from time to time. Several producers that start at the same moment can
/// therefore exceed the capacity somewhat, and a single send of many messages is admitted as a whole. Producers of
/// older releases and foreign producers ignore the capacity. Messages that return to the queue, from consumers or from
/// the dead letters, are never refused.
public struct QueueCapacity: Sendable, Hashable {
    /// The most messages that are ready; `nil` means no limit. The servers count nodes, so a producer multiplies that
    /// count by the average number of messages in the nodes that it has stored. Delayed messages, and messages that
    /// wait in their groups, do not count: limit ``bytes`` for them.
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

    /// Whether no further message may be sent.
    func isReached(by fill: CapacityBudget.Fill) -> Bool {
        messages.map { fill.nodes >= $0 } ?? false || bytes.map { fill.bytes ?? 0 >= $0 } ?? false
    }

    /// Returns the error for a queue that has reached its capacity.
    func fullError(messages used: Int, bytes usedBytes: Int?, queue: String) -> QueueError {
        let bytes = bytes.map { " and \(usedBytes ?? 0) of \($0) bytes" } ?? ""
        let messages = messages.map { " of \($0)" } ?? ""
        return QueueError(
            .queueFull,
            "The queue \(queue) is full: \(used)\(messages) messages\(bytes). Let consumers catch up, purge the queue, "
                + "or raise its capacity.")
    }

    func validate() throws {
        for (name, value) in [("messages", messages), ("bytes", bytes)] {
            if let value, value < 1 {
                throw QueueError(.invalidArgument, "A capacity in \(name) must be at least 1, not \(value).")
            }
        }
    }
}
