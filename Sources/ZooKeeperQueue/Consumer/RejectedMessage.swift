/// An error that a handler throws to move its message to the dead letters at once, because no retry can help.
///
/// ```swift
/// guard message.payload.count == 16 else { throw RejectedMessage("not an order ID") }
/// ```
///
/// It has this effect in ``QueueMessage/process(retry:timeout:cancelsWhenSuspended:_:)`` and in a ``QueueWorker``.
public struct RejectedMessage: Error, Sendable, Hashable, CustomStringConvertible {
    /// Why the message was rejected. It is stored as the dead letter's ``DeadLetter/reason``.
    public let reason: String

    /// Creates the error.
    public init(_ reason: String) { self.reason = reason }

    /// The reason.
    public var description: String { reason }
}
