/// How things stand with the lease of a message.
public enum LeaseState: Sendable, Hashable {
    /// The message is this consumer's, and nobody else's.
    case held
    /// The ensemble has not answered for two thirds of the session timeout: the lease may end soon. It may become held
    /// again, or lost. Said before anybody else can have the message, as far as clocks run alike.
    case inDoubt
    /// The consumer's session has ended: somebody else has the message, or will have it.
    case lost
    /// The message was acknowledged, given back or dead-lettered by this consumer.
    case settled
}
