extension MessageQueue {
    /// Runs `body` with a consumer of this queue, and closes the consumer afterwards.
    ///
    /// ```swift
    /// try await queue.withConsumer(prefetch: 32) { messages in
    ///     for try await message in messages {
    ///         try await message.process { try await handle($0.payload) }
    ///     }
    /// }
    /// ```
    ///
    /// When `body` ends, however it ends, the consumer returns the messages that it still holds to their old
    /// positions, and leaves the tree before this method returns. So leaving the `for await` loop early, with `break`
    /// or an error, strands no message. A message that `body` never received does not count as delivered.
    ///
    /// - Parameters:
    ///   - prefetch: the most unsettled messages that the consumer holds. See
    ///     ``QueueConsumer/Configuration/prefetch``. Default: 128.
    ///   - body: receives messages. Cancellation of the surrounding task ends its loop.
    /// - Returns: the result of `body`.
    /// - Throws: the errors of `body`.
    public func withConsumer<Result>(
        prefetch: Int = 128, _ body: (QueueConsumer) async throws -> Result
    ) async throws -> Result {
        let consumer = QueueConsumer(self, configuration: .init(prefetch: prefetch))
        do {
            let result = try await body(consumer)
            await consumer.close(gracePeriod: .zero)
            return result
        } catch {
            await consumer.close(gracePeriod: .zero)
            throw error
        }
    }
}
