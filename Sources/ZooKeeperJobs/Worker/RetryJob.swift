/// An error that a handler throws to run its job again after a delay of its own choice.
///
/// The attempt counts, as after any other error.
///
/// ```swift
/// if response.status == 429 { throw RetryJob(after: .seconds(60), reason: "the bank is busy") }
/// ```
public struct RetryJob: Error, Sendable, Hashable, CustomStringConvertible {
    /// How long the job waits: zero to ten years.
    public let delay: Duration
    /// Why. It is kept with the message, see `QueueMessage.failures`.
    public let reason: String

    /// Creates the error.
    public init(after delay: Duration, reason: String) {
        self.delay = delay
        self.reason = reason
    }

    /// The reason.
    public var description: String { reason }
}
