import ZooKeeper
public import ZooKeeperQueue

extension QueueMessage {
    /// Makes a leased message, for a test of a handler. It lies in a queue of its own, in memory, so it can be settled
    /// as usual.
    ///
    /// ```swift
    /// let message = try await QueueMessage.test(.init("order 42", headers: ["language": "en"]), deliveryCount: 3)
    /// try await handle(message)
    /// #expect(message.leaseState == .settled)
    /// ```
    ///
    /// - Parameters:
    ///   - message: what was sent. Its delay is ignored.
    ///   - deliveryCount: how often the message was delivered, including this time: 1…1,000. Default: 1.
    /// - Throws: `QueueError` for an invalid message.
    public static func test(_ message: OutgoingMessage, deliveryCount: Int = 1) async throws -> QueueMessage {
        let zookeeper = InMemoryZooKeeper()
        let queue = try MessageQueue(store: zookeeper.connect(), path: "/queue")
        try await queue.createIfNeeded(.init(maximumDeliveries: 1_001))
        var message = message
        (message.delay, message.deliverAt) = (.zero, nil)
        let producer = QueueProducer(queue)
        let receipt = try await producer.send(message)
        await producer.close()
        if deliveryCount > 1, let name = receipt.nodeName {
            // The count of earlier deliveries is the end of a message's name.
            let path = "\(queue.path)/items/\(name)"
            let node = try await queue.store.get(path)
            let count = min(deliveryCount, 1_000) - 1
            _ = try await queue.store.multi([.delete(path), .create("\(path).\(count)", data: node.data)])
        }
        var messages = QueueConsumer(queue).makeAsyncIterator()
        guard let leased = try await messages.next() else {
            throw QueueError(.closed, "The consumer of the test was closed.")
        }
        return leased
    }
}
