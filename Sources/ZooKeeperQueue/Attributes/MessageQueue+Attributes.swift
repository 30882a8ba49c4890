/// What the members of the queue must agree on.
extension MessageQueue {
    /// Changes how many messages a producer may store in one node: see ``QueueSettings/messagesPerNode``. Producers
    /// that are at work learn it at their next step; consumers take both forms.
    ///
    /// - Throws: ``QueueError``.
    public func setMessagesPerNode(_ count: Int) async throws {
        try await change({ $0.messagesPerNode = count }, storing: { $0.messagesPerNode = count })
    }

    /// Changes how much may stand in the queue; one without messages and bytes is no bound. Producers that are at work
    /// learn it at their next step. What stands in the queue already stays.
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

    /// Returns how much may stand in the queue, as it is kept in the tree.
    ///
    /// - Throws: ``QueueError``.
    public func bound() async throws -> QueueBound {
        try await QueueError.translating(while: "reading the queue's settings", queue: path) {
            try await attributes.read().bound
        }
    }

    /// Changes how long the ids of messages are remembered: see ``QueueSettings/idRetention``.
    ///
    /// - Throws: ``QueueError``.
    public func setIDRetention(_ retention: Duration) async throws {
        try await change({ $0.idRetention = retention }, storing: { $0.idRetention = retention })
    }

    /// Changes how often a message is delivered before it goes to the dead letters: see
    /// ``QueueSettings/maximumDeliveries``.
    ///
    /// - Throws: ``QueueError``.
    public func setMaximumDeliveries(_ count: Int) async throws {
        try await change({ $0.maximumDeliveries = count }, storing: { $0.maximumDeliveries = count })
    }

    /// Changes how long a recovery keeps the message of a failed consumer: see ``QueueSettings/redeliveryDelay``.
    ///
    /// - Throws: ``QueueError``.
    public func setRedeliveryDelay(_ delay: Duration) async throws {
        try await change({ $0.redeliveryDelay = delay }, storing: { $0.redeliveryDelay = delay })
    }

    /// Checks a setting as one of this member's own, and stores it for all.
    private func change(
        _ change: (inout QueueSettings) -> Void, storing store: (inout SharedSettings) -> Void
    ) async throws {
        var changed = settings
        change(&changed)
        try changed.validate()
        try await prepare()
        try await self.change(store)
    }

    private func change(_ change: (inout SharedSettings) -> Void) async throws {
        try await QueueError.translating(while: "changing the queue's settings", queue: path) {
            try await attributes.change(change)
        }
    }
}
