extension QueueConsumer {
    /// The configuration of a consumer.
    public struct Configuration: Sendable, Hashable {
        /// The most unsettled messages that the consumer holds, including those in its buffer. Default: 128.
        ///
        /// The consumer exceeds it when the last node that it claims has several messages
        /// (``QueueAttributes/maximumBatchSize``). A larger value claims more messages together, which is faster. A
        /// smaller one leaves more messages to other consumers, and less to recover after a failure.
        public var prefetch: Int

        /// Whether the consumer claims a message for each iterator that waits for one, and none in advance,
        /// however many messages it holds.
        package var pullsOnDemand = false

        /// After how many transactions the consumer claims nothing in advance, and registers again
        /// as soon as it holds nothing.
        package var transactionsOfARegistration: Int32 = 1_000_000_000

        /// How long ``QueueConsumer/close(gracePeriod:)`` may take beyond the grace period.
        package var closingTime = Duration.seconds(4)

        /// Creates a configuration.
        public init(prefetch: Int = 128) { self.prefetch = prefetch }
    }
}
