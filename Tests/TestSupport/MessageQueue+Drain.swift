public import ZooKeeperQueue

extension MessageQueue {
    /// Consumes every message that is ready, and settles it with `settle`, which acknowledges by default.
    ///
    /// - Returns: the payloads in the order of their delivery.
    @discardableResult
    public func drain(
        prefetch: Int = 32, _ settle: (QueueMessage) async throws -> Void = { try await $0.acknowledge() }
    ) async throws -> [String] {
        let consumer = QueueConsumer(self, configuration: .init(prefetch: prefetch))
        var messages = consumer.makeAsyncIterator()
        var payloads: [String] = []
        while let message = try await messages.next(within: .zero) {
            payloads.append(String(decoding: message.payload, as: UTF8.self))
            try await settle(message)
        }
        await consumer.close()
        return payloads
    }
}
