extension MessageQueue {
    /// Deletes every ready message, at any depth. Leased, partial and dead messages stay.
    ///
    /// - Parameter progress: is told, now and then, how many are deleted of how many.
    /// - Returns: how many were deleted.
    /// - Throws: ``QueueError``; `CancellationError`. What was deleted by then stays deleted.
    @discardableResult
    public func purge(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        try await QueuePurge(queue: self).run(progress: progress)
    }

    /// Returns the messages that were given up, in their old order.
    ///
    /// - Throws: ``QueueError``.
    public func deadLetters(limit: Int = 100) async throws -> [DeadLetter] {
        try await deadLetterQueue.list(limit: limit)
    }

    /// Sends a dead letter back to its old place in the queue; its deliveries are counted anew.
    ///
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when there is no such dead letter.
    public func redrive(_ name: String) async throws { try await deadLetterQueue.redrive(name) }

    /// Sends all dead letters back. One that cannot be moved is skipped and stays: see ``skippedNodes()``.
    ///
    /// - Returns: how many.
    /// - Throws: ``QueueError``; `CancellationError`. What was sent back by then stays in the queue.
    @discardableResult
    public func redriveAll(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        try await deadLetterQueue.redriveAll(progress: progress)
    }

    /// Deletes all dead letters.
    ///
    /// - Returns: how many.
    /// - Throws: ``QueueError``; `CancellationError`. What was deleted by then stays deleted.
    @discardableResult
    public func purgeDeadLetters(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws
        -> Int
    {
        try await deadLetterQueue.purge(progress: progress)
    }
}
