/// A number in a queue's tree, or in its ensemble, that grows and has an end; and what happens there by itself.
public struct QueueCounter: Sendable, Hashable {
    /// What is counted.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Messages that were given a number since the numbers last began anew.
        case messages
        /// Consumers that were ever registered.
        case consumers
        /// Batches of the producer that has sent the most of them.
        case batches
        /// Steps of the consumer that has made the most of them.
        case steps
        /// Changes of the whole ensemble since its last election: the low 32 bits of the zxid.
        case transactions
    }

    /// What is counted.
    public let kind: Kind
    /// How far it is.
    public let value: Int
    /// Where it ends or begins anew.
    public let end: Int

    /// What happens at the end, by itself.
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
