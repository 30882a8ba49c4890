/// How much of a finite sequence of numbers is used, in a queue's tree or its ensemble.
public struct SequenceUsage: Sendable, Hashable {
    /// The kinds of sequences. The raw values are the labels in metrics and in the output of `zkq doctor`.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Numbers of message nodes since the last rollover.
        case messages
        /// Numbers of consumers that were ever registered.
        case consumers
        /// Batches of the producer with the most batches.
        case batches
        /// Transactions of the consumer with the most transactions.
        case transactions = "steps"
        /// Changes to the whole ensemble since its last leader election: the low 32 bits of the zxid.
        case zxids = "transactions"
    }

    /// The kind of the sequence.
    public let kind: Kind
    /// The number that is in use now.
    public let value: Int
    /// The number at which the sequence ends or starts again.
    public let limit: Int

    /// What happens at the limit, without any intervention.
    public var onExhaustion: String {
        switch kind {
        case .messages: "a recovery restarts the numbers (sequence rollover)"
        case .consumers: "consumers use any free number"
        case .batches: "the producer creates another node"
        case .transactions: "the consumer registers again"
        case .zxids: "the ensemble elects a leader again"
        }
    }
}
