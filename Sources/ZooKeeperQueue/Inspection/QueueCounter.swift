/// A finite counter of a queue's tree or its ensemble, and what happens at its limit.
public struct QueueCounter: Sendable, Hashable {
    /// The kinds of counters.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Message nodes that were numbered since the last rollover.
        case messages
        /// Consumers that were ever registered.
        case consumers
        /// Batches of the producer with the most batches.
        case batches
        /// Transactions of the consumer with the most transactions.
        case steps
        /// Changes to the whole ensemble since its last leader election: the low 32 bits of the zxid.
        case transactions
    }

    /// The kind of the counter.
    public let kind: Kind
    /// The current value.
    public let value: Int
    /// The limit, at which the counter ends or starts again.
    public let end: Int

    /// What happens at the limit, without any intervention.
    public var remedy: String {
        switch kind {
        case .messages: "a recovery lets the numbers begin anew"
        case .consumers: "consumers take any number that is free"
        case .batches: "the producer begins another lane"
        case .steps: "the consumer registers anew"
        case .transactions: "the ensemble elects a leader anew"
        }
    }
}
