extension MessageQueue {
    /// Returns the message counts by state. It costs a few reads and one for each consumer, however long the queue.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueMissing`` when there is no queue.
    public func statistics() async throws -> QueueStatistics { try await inspector.statistics() }

    /// Returns how far the counters of the queue and its ensemble are. It costs a few reads, one for each producer and
    /// consumer, and one write: of a node that is gone at once, because only a write tells where the ensemble is.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/queueMissing`` when there is no queue.
    public func counters() async throws -> [QueueCounter] { try await inspector.counters() }

    /// Returns how long the oldest ready message has waited, by this machine's clock; `nil` when none is ready.
    ///
    /// It reads the list of all ready messages.
    ///
    /// - Throws: ``QueueError``.
    public func oldestAge() async throws -> Duration? { try await inspector.oldestAge() }

    /// Returns the first ready messages, in the order in which they will be handed out. Nothing is taken.
    ///
    /// - Throws: ``QueueError``.
    public func browse(limit: Int = 100) async throws -> [BrowsedMessage] { try await inspector.browse(limit: limit) }
}
