extension MessageQueue {
    /// Returns the delayed messages, in the order in which they become ready.
    ///
    /// - Throws: ``QueueError``.
    public func delayedMessages(limit: Int = 100) async throws -> [DelayedMessage] {
        try await delayedQueue.list(limit: limit)
    }

    /// Deletes a delayed message.
    ///
    /// - Parameter nodeName: the message's ``DelayedMessage/nodeName``.
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when there is no such message, because it became ready or
    ///   was cancelled; ``QueueError/Code/outcomeUnknown`` when no response arrived: list the delayed messages to find
    ///   out.
    public func cancelDelayed(_ nodeName: String) async throws { try await delayedQueue.cancel(nodeName) }

    /// Makes a delayed message ready now.
    ///
    /// - Parameter nodeName: the message's ``DelayedMessage/nodeName``.
    /// - Throws: the same errors as ``cancelDelayed(_:)``.
    public func deliverNow(_ nodeName: String) async throws { try await delayedQueue.deliverNow(nodeName) }

    var delayedQueue: DelayedQueue { DelayedQueue(queue: self) }
}
