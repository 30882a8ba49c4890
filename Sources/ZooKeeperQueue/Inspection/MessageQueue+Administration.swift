extension MessageQueue {
    /// Deletes every ready message, however long the queue is. Leased, partial and dead messages stay.
    ///
    /// - Parameter progress: is called now and then with the number of deleted messages and their total.
    /// - Returns: how many were deleted.
    /// - Throws: ``QueueError``; `CancellationError`. Messages that were deleted by then stay deleted.
    @discardableResult
    public func purge(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        try await QueuePurge(queue: self).run(progress: progress)
    }

    /// Returns the dead letters, in the order in which the messages were stored.
    ///
    /// - Throws: ``QueueError``.
    public func deadLetters(limit: Int = 100) async throws -> [DeadLetter] {
        try await deadLetterQueue.list(limit: limit)
    }

    /// Takes the lease of a node away from the consumer that holds it, at an operator's request. A recovery then
    /// redelivers the node's unsettled messages, and each counts a delivery.
    ///
    /// The consumer learns of it when it settles a message of the node or renews its leases: the lease is then
    /// ``LeaseState/lost``. Its handler may go on until then, as after a lost session, and a message of the node that
    /// waits in the consumer's buffer may still be handed out.
    ///
    /// - Parameter nodeName: the name of the leased node. See ``ConsumerInfo/Lease/nodeName``.
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when no consumer holds the node,
    ///   ``QueueError/Code/invalidArgument`` when its consumer belongs to a release that does not notice, or the store has
    ///   no transactions, ``QueueError/Code/timedOut`` when the consumer sends transactions all the time.
    public func releaseLease(ofNode nodeName: String) async throws {
        try await LeaseRelease(queue: self).release(nodeName)
    }

    /// Moves a dead letter back to its old position in the queue. Its delivery count starts again, and it does not expire
    /// any more.
    ///
    /// - Parameter nodeName: the dead letter's ``DeadLetter/nodeName``.
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when there is no such dead letter.
    public func redrive(_ nodeName: String) async throws { try await deadLetterQueue.redrive(nodeName) }

    /// Moves all dead letters back to the queue. Skips a dead letter that cannot be moved: see ``skippedNodes()``.
    ///
    /// - Returns: how many were moved.
    /// - Throws: ``QueueError``; `CancellationError`. Messages that were moved by then stay in the queue.
    @discardableResult
    public func redriveAll(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        try await deadLetterQueue.redriveAll(progress: progress)
    }

    /// Deletes all dead letters.
    ///
    /// - Returns: how many were deleted.
    /// - Throws: ``QueueError``; `CancellationError`. Dead letters that were deleted by then stay deleted.
    @discardableResult
    public func purgeDeadLetters(progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws
        -> Int
    {
        try await deadLetterQueue.purge(progress: progress)
    }
}
