/// How a consumer takes messages.
public struct ConsumerConfiguration: Sendable, Hashable {
    /// The most messages that the consumer holds and has not settled, those that wait to be handed out included; more
    /// when the last node that it takes has several messages (``QueueSettings/messagesPerNode``).
    /// Default: 128. More are taken together, which is faster; fewer leave more for others, and less to recover.
    public var prefetch: Int

    /// Whether the consumer takes a message for each iterator that waits for one, and none in advance, however many
    /// it holds.
    package var takesOnDemand = false

    /// After how many steps the consumer takes nothing in advance, and registers anew as soon as it holds nothing.
    package var stepsOfARegistration: Int32 = 1_000_000_000

    /// How long the steps of ``QueueConsumer/close(gracePeriod:)`` may take besides the grace period.
    package var closingTime = Duration.seconds(4)

    /// Creates a configuration.
    public init(prefetch: Int = 128) { self.prefetch = prefetch }
}
