/// The state of a message's lease.
public enum LeaseState: Sendable, Hashable {
    /// The message is leased to this consumer, and to no other.
    case held
    /// The lease is suspended: the ensemble has not answered for two thirds of the session timeout, so the lease may
    /// end soon. It becomes held again, or lost.
    ///
    /// The lease is suspended before any other consumer can claim the message, as long as the
    /// clocks run at the same rate.
    case inDoubt
    /// The consumer no longer holds the lease: its session has ended, and the message has been or will be redelivered.
    case lost
    /// This consumer has acknowledged, requeued or dead-lettered the message.
    case settled
}
