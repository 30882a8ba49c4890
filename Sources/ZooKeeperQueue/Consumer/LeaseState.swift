/// The state of a message's lease.
public enum LeaseState: Sendable, Hashable {
    /// The message is leased to this consumer, and to no other.
    case held
    /// The lease is suspended, because it may end soon: the ensemble has not responded for two thirds of the session
    /// timeout, or the consumer could not renew the lease for two thirds of ``QueueAttributes/leaseTimeout``. It becomes
    /// held again, or lost.
    ///
    /// The lease is suspended before any other consumer can claim the message, as long as the clocks run at the same rate
    /// and this process runs Swift tasks. In a process that does not, it is suspended as soon as tasks run again.
    case suspended
    /// The consumer no longer holds the lease: its session has ended, or the lease was taken away. The message has been or
    /// will be redelivered.
    case lost
    /// This consumer has acknowledged, requeued or dead-lettered the message.
    case settled
}

/// The states of a message's lease, from the current one to the last.
public struct LeaseStates: AsyncSequence, Sendable {
    /// A state of the lease.
    public typealias Element = LeaseState
    /// The sequence never throws.
    public typealias Failure = Never

    let lease: Lease

    /// Returns an iterator that begins with the current state.
    public func makeAsyncIterator() -> Iterator { Iterator(lease: lease) }

    /// Iterates over the states of a lease.
    public struct Iterator: AsyncIteratorProtocol {
        let lease: Lease
        private var last: LeaseState?

        init(lease: Lease) { self.lease = lease }

        /// Returns the next state that differs from the last one.
        ///
        /// - Returns: `nil` after ``LeaseState/lost`` or ``LeaseState/settled``, and when the task is cancelled.
        public mutating func next() async -> LeaseState? {
            guard let last else {
                last = lease.state
                return last
            }
            if last == .lost || last == .settled { return nil }
            let state = await lease.change(from: last)
            // A cancelled wait returns the old state.
            if state == last { return nil }
            self.last = state
            return state
        }
    }
}
