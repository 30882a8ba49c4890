/// How much may stand in a queue before producers are refused, or wait.
///
/// A bound keeps a queue whose consumers are gone from growing until the servers' memory is full. It is kept by the producers of
/// this library, each of which looks from time to time how full the queue is; so several that begin at the same
/// moment may exceed it somewhat, and a single send of many messages is let in as a whole. Producers of older releases, and foreign
/// ones, do not know of it. What comes back, from consumers or from the dead letters, is never refused.
public struct QueueBound: Sendable, Hashable {
    /// The most messages that are ready; `nil` is no bound. Where a node has several, a producer counts each as many as its own
    /// nodes have on average.
    public var messages: Int?
    /// The most bytes of all that the queue keeps, whether ready, leased or dead: payloads, headers and the queue's own nodes.
    /// `nil` is no bound. They are counted by the servers, which takes the right to create below `/zookeeper/quota`, and no quota
    /// on a node above the queue's.
    public var bytes: Int?

    /// Creates a bound.
    public init(messages: Int? = nil, bytes: Int? = nil) {
        self.messages = messages
        self.bytes = bytes
    }

    var isNone: Bool { messages == nil && bytes == nil }

    func validate() throws {
        for (name, value) in [("messages", messages), ("bytes", bytes)] {
            if let value, value < 1 {
                throw QueueError(.invalidArgument, "A bound of \(name) is at least 1; \(value) is not.")
            }
        }
    }
}
