extension MessageQueue {
    /// Returns a message and where it is.
    ///
    /// It lists all names of the queue, which takes about a second for a million ready messages, and a read for each
    /// minute with delayed ones. When it finds nothing, it looks three times, because a message that moves meanwhile
    /// can be missed. It does not see messages in nodes that cannot be read: see ``skippedNodes()``.
    ///
    /// - Parameter nodeName: the message's name, for example from its ``SendReceipt``. The count of deliveries in it,
    ///   or its lack, makes no difference. A message that was sent with a delay, or that waits in its group, gets
    ///   another name when it becomes ready. A name of the form `<group>/item-…` belongs to a waiting message and can
    ///   be reused: once the group has ended, it can name a later message.
    /// - Returns: `nil` when there is no such message, for example because it was acknowledged.
    /// - Throws: ``QueueError``; ``QueueError/Code/invalidArgument`` when it is not the name of a message, or old
    ///   clients have given the name to several. `CancellationError` when the task was cancelled.
    public func message(nodeName: String) async throws -> MessageStatus? {
        let key = try MessageSearch.Key(nodeName: nodeName)
        return try await QueueError.translating(while: "looking for a message", queue: path) {
            let search = MessageSearch(queue: self)
            guard let found = try await search.find(key) else { return nil }
            return try await search.status(of: found)
        }
    }

    /// Returns the message that was sent with an ID, and where it is. Of several, the oldest one.
    ///
    /// It reads messages until it finds the ID, about 20,000 a second, and all of them three times when it does not. So
    /// the answer that there is none is very likely, not certain: the message may have moved, or be in a node that
    /// cannot be read.
    ///
    /// - Parameter id: the message's ``OutgoingMessage/id``.
    /// - Throws: ``QueueError``. `CancellationError` when the task was cancelled.
    public func message(id: String) async throws -> MessageLookup {
        try await QueueError.translating(while: "looking for a message", queue: path) {
            let search = MessageSearch(queue: self)
            if let found = try await search.find(.id(id)) { return .found(try await search.status(of: found)) }
            return try await search.remembers(id) ? .finished : .unknown
        }
    }

    /// Deletes a message, wherever it is, and makes the queue forget its ID.
    ///
    /// When a consumer holds the message, its lease ends. The consumer notices that when it settles the message, or
    /// when it lists its leases, which it does once in each third of the ``QueueAttributes/leaseTimeout``. Then the
    /// handler's task is cancelled. Until then, a message that waits in the consumer's buffer may still be handed out.
    /// Other messages of the same node are redelivered.
    ///
    /// When a later message was sent with the ID, the ID stays remembered, unless this message was requeued or moved
    /// since.
    ///
    /// - Parameter nodeName: the message's name. See ``message(nodeName:)``. The name of a message that waits in its
    ///   group is not unique: cancel it by its ID.
    /// - Returns: the message as it was before.
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when there is no such message,
    ///   ``QueueError/Code/invalidArgument`` for the name of a message that waits in its group, or when its consumer
    ///   belongs to a release that does not notice, or the store has no transactions, ``QueueError/Code/timedOut`` when
    ///   the message moves all the time, ``QueueError/Code/outcomeUnknown`` when no response arrived: look the message
    ///   up to find out. `CancellationError` when the task was cancelled during the search.
    @discardableResult
    public func cancelMessage(nodeName: String) async throws -> MessageStatus {
        try await MessageChange(queue: self).cancel(try MessageSearch.Key(nodeName: nodeName))
    }

    /// Deletes the message that was sent with an ID, wherever it is, and makes the queue forget the ID.
    ///
    /// - Parameter id: the message's ``OutgoingMessage/id``.
    /// - Returns: the message as it was before.
    /// - Throws: the same errors as ``cancelMessage(nodeName:)``.
    @discardableResult
    public func cancelMessage(id: String) async throws -> MessageStatus {
        try await MessageChange(queue: self).cancel(.id(id))
    }

    /// Moves a ready or delayed message to another priority. There it is the last one. Its delivery count starts again,
    /// and it gets another name.
    ///
    /// - Parameters:
    ///   - nodeName: the message's name. See ``message(nodeName:)``.
    ///   - priority: 0…999; a lower number is delivered first.
    /// - Returns: the new name; `nil` when the message has moved, and the reply with the name was lost.
    /// - Throws: ``QueueError``; ``QueueError/Code/notFound`` when there is no such message, or it is neither ready nor
    ///   delayed; ``QueueError/Code/invalidArgument``, ``QueueError/Code/timedOut``; ``QueueError/Code/outcomeUnknown``
    ///   when no response arrived: look the message up to find out. `CancellationError` when the task was cancelled
    ///   during the search.
    @discardableResult
    public func moveMessage(nodeName: String, toPriority priority: Int) async throws -> String? {
        try await MessageChange(queue: self).move(try MessageSearch.Key(nodeName: nodeName), toPriority: priority)
    }
}
