/// The settings that every process must agree on.
extension MessageQueue {
    /// Changes how many messages a producer may store in one node. See ``QueueSettings/messagesPerNode``. Running
    /// producers apply the change at their next transaction. Consumers read both formats.
    ///
    /// - Throws: ``QueueError``.
    public func setMessagesPerNode(_ count: Int) async throws {
        try await change({ $0.messagesPerNode = count }, storing: { $0.messagesPerNode = count })
    }

    /// Changes the queue's capacity. A value with neither messages nor bytes removes the limit. Running producers apply
    /// the change at their next transaction. Messages that are in the queue already stay.
    ///
    /// - Throws: ``QueueError``.
    public func setBound(_ bound: QueueBound) async throws {
        try bound.validate()
        try await prepare()
        if bound.bytes != nil {
            try await QueueError.translating(while: "asking the servers to count bytes", queue: path) {
                try await usage.trackBytes()
            }
        }
        try await change { $0.bound = bound }
    }

    /// Returns the queue's capacity, as stored in the tree.
    ///
    /// - Throws: ``QueueError``.
    public func bound() async throws -> QueueBound {
        try await QueueError.translating(while: "reading the queue's settings", queue: path) {
            try await attributes.read().bound
        }
    }

    /// Changes the deduplication window. See ``QueueSettings/deduplicationWindow``.
    ///
    /// - Throws: ``QueueError``.
    public func setDeduplicationWindow(_ retention: Duration) async throws {
        try await change({ $0.deduplicationWindow = retention }, storing: { $0.deduplicationWindow = retention })
    }

    /// Changes how often a message is delivered before it moves to the dead letters. See
    /// ``QueueSettings/maximumDeliveries``.
    ///
    /// - Throws: ``QueueError``.
    public func setMaximumDeliveries(_ count: Int) async throws {
        try await change({ $0.maximumDeliveries = count }, storing: { $0.maximumDeliveries = count })
    }

    /// Changes how long a recovery holds back the message of a failed consumer. See ``QueueSettings/redeliveryDelay``.
    ///
    /// - Throws: ``QueueError``.
    public func setRedeliveryDelay(_ delay: Duration) async throws {
        try await change({ $0.redeliveryDelay = delay }, storing: { $0.redeliveryDelay = delay })
    }

    /// Validates a change against this process's own settings, and then stores it for every process.
    private func change(
        _ change: (inout QueueSettings) -> Void, storing store: (inout QueueAttributes) -> Void
    ) async throws {
        var changed = settings
        change(&changed)
        try changed.validate()
        try await prepare()
        try await self.change(store)
    }

    private func change(_ change: (inout QueueAttributes) -> Void) async throws {
        try await QueueError.translating(while: "changing the queue's settings", queue: path) {
            try await attributes.change(change)
        }
    }
}
