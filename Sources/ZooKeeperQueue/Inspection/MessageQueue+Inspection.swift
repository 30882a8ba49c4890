extension MessageQueue {
    /// Returns message counts by state, and what is paused. Costs a few reads and one for each consumer, however long
    /// the queue is.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueNotFound`` when there is no queue.
    public func statistics() async throws -> QueueStatistics { try await inspector.statistics() }

    /// Returns the registered consumers, and which nodes each of them holds since when.
    ///
    /// Costs a few reads for each consumer, and one for each lease.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueNotFound`` when there is no queue.
    public func consumers() async throws -> [ConsumerInfo] { try await inspector.consumers() }

    /// Returns how much of each finite sequence of numbers the queue and its ensemble have used.
    ///
    /// Costs a few reads, one read for each producer and consumer, and one write. The write creates a node that is gone
    /// at once, because only a write reveals the ensemble's current transaction number.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueNotFound`` when there is no queue.
    public func sequenceUsage() async throws -> [SequenceUsage] { try await inspector.sequenceUsage() }

    /// Returns how long the oldest ready message has waited, by this machine's clock; `nil` when none is ready.
    ///
    /// Reads the list of all ready messages.
    ///
    /// - Throws: ``QueueError``.
    public func oldestMessageAge() async throws -> Duration? { try await inspector.oldestMessageAge() }

    /// Returns the first ready messages, in delivery order, without claiming them.
    ///
    /// - Throws: ``QueueError``.
    public func peek(limit: Int = 100) async throws -> [PeekedMessage] { try await inspector.peek(limit: limit) }
}
