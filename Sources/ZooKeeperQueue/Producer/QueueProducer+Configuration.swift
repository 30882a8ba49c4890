extension QueueProducer {
    /// What a send does when the queue has reached its capacity.
    public enum WhenFull: Sendable, Hashable {
        /// The send throws ``QueueError/Code/queueFull``.
        case fail
        /// The send waits for capacity, up to its timeout. Then it throws ``QueueError/Code/queueFull``. The producer
        /// checks the fill level up to twenty times a second at first, and once a second after a while.
        case wait
    }

    /// The configuration of a producer.
    public struct Configuration: Sendable, Hashable {
        /// What a send does when the queue has reached its ``QueueCapacity``. Default: it throws.
        public var whenFull: WhenFull
        /// How long a send may take before it throws, unless the call has its own timeout. Default: 30 seconds.
        public var sendTimeout: Duration
        /// How many messages may wait in the producer or be in flight. Default: 100,000.
        ///
        /// At this limit, a send throws ``QueueError/Code/overloaded`` at once. It does not wait, because a waiting
        /// task keeps its messages in memory too. A send of several messages is accepted as a whole below the limit.
        public var maximumQueuedSends: Int
        /// How many bytes of payloads and headers may wait in the producer or be in flight. Default: 256 MiB.
        public var maximumQueuedBytes: Int

        /// How many messages must be waiting before another batch is sent while others are in flight.
        package var minimumBatch = 32
        /// After how many batches the producer creates another node, because a version has only 32 bits.
        package var batchesOfANode = Self.defaultBatchesOfANode

        static let defaultBatchesOfANode: Int32 = 1_000_000_000

        /// Creates a configuration. Each property describes its setting.
        public init(
            whenFull: WhenFull = .fail, sendTimeout: Duration = .seconds(30), maximumQueuedSends: Int = 100_000,
            maximumQueuedBytes: Int = 256 << 20
        ) {
            self.whenFull = whenFull
            self.sendTimeout = sendTimeout
            self.maximumQueuedSends = maximumQueuedSends
            self.maximumQueuedBytes = maximumQueuedBytes
        }
    }
}
