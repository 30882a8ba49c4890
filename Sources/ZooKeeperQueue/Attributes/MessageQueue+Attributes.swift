extension MessageQueue {
    /// Returns the queue's attributes, as stored in the tree.
    ///
    /// - Throws: ``QueueError``.
    public func attributes() async throws -> QueueAttributes {
        try await QueueError.translating(while: "reading the queue's attributes", queue: path) {
            try await attributeStore.read()
        }
    }

    /// Changes the queue's attributes for all members. Running producers apply the change at their next transaction, and
    /// consumers at once.
    ///
    /// ```swift
    /// try await queue.update { $0.capacity = .init(messages: 100_000) }
    /// ```
    ///
    /// - Parameter change: changes the current attributes. It runs again when another client changed them meanwhile.
    /// - Returns: the new attributes.
    /// - Throws: ``QueueError``; ``QueueError/Code/invalidArgument`` for an invalid value, before anything is
    ///   stored; and the errors of `change`.
    @discardableResult
    public func update(_ change: (inout QueueAttributes) throws -> Void) async throws -> QueueAttributes {
        try await prepare()
        return try await QueueError.translating(while: "changing the queue's attributes", queue: path) {
            try await attributeStore.change(change)
        }
    }
}
