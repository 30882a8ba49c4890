// The code of the queue's documentation. The compiler checks it with every build, and `SnippetTests` compares each
// slice with the README, the articles and the comments. A change here therefore needs the same change there.
import Logging
import ServiceLifecycle
import UnixSignals
// snippet.first-program
import ZooKeeper
import ZooKeeperQueue

let servers = "127.0.0.1:2181"  // `zkq dev --port 2181` starts one
try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
    let queue = try MessageQueue(zookeeper, path: "/queue")
    try await queue.createIfNeeded(.init(maximumDeliveries: 5))

    let producer = QueueProducer(queue)
    try await producer.send("hello", headers: ["language": "en"])
    await producer.close()

    try await queue.withConsumer { messages in
        for try await message in messages {
            print(String(decoding: message.payload, as: UTF8.self), message.deliveryCount)
            try await message.acknowledge()
            break
        }
    }
}
// snippet.end

// Stand for the application's code.
func handle(_ payload: [UInt8]) async throws {}
func handle(_ message: QueueMessage) async throws {}
func pause() {}

// MARK: The landing page and the comments

func overview(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.overview
    let queue = try MessageQueue(zookeeper, path: "/queue")
    try await queue.createIfNeeded(.init(maximumDeliveries: 5))

    let receipt = try await QueueProducer(queue).send("hello")

    try await queue.withConsumer { messages in
        for try await message in messages {
            try await handle(message.payload)
            try await message.acknowledge()
        }
    }
    // snippet.end
    _ = receipt
}

func messageQueue(_ zookeeper: ZooKeeperClient) async throws {
    // snippet.queue
    let queue = try MessageQueue(zookeeper, path: "/queue")
    try await queue.createIfNeeded(.init(maximumDeliveries: 5))
    try await QueueProducer(queue).send("hello")
    try await queue.withConsumer { messages in
        for try await message in messages {
            try await handle(message.payload)
            try await message.acknowledge()
        }
    }
    // snippet.end
}

func queueConsumer(_ queue: MessageQueue) async throws {
    // snippet.consumer
    for try await message in QueueConsumer(queue) {
        try await message.process { try await handle($0.payload) }
    }
    // snippet.end
}

func leaseStates(_ message: QueueMessage) async {
    // snippet.lease-states
    for await state in message.leaseStates where state == .suspended { pause() }
    // snippet.end
}

func queueWorker(_ zookeeper: ZooKeeperClient, _ queue: MessageQueue, _ logger: Logger) async throws {
    // snippet.worker
    let worker = QueueWorker(QueueConsumer(queue), concurrency: 4) { message in try await handle(message) }
    try await ServiceGroup(services: [zookeeper, QueueRecovery(queue), worker], logger: logger).run()
    // snippet.end
}

// MARK: The README's tasks

func createAndUpdate(_ queue: MessageQueue) async throws {
    // snippet.attributes
    try await queue.createIfNeeded(.init(maximumDeliveries: 5, maximumBatchSize: 64))
    try await queue.update { $0.capacity = .init(messages: 100_000) }
    // snippet.end
}

func update(_ queue: MessageQueue) async throws {
    // snippet.update
    try await queue.update { $0.capacity = .init(messages: 100_000) }
    // snippet.end
}

func resume(_ producer: QueueProducer) async throws {
    // snippet.resume
    do {
        try await producer.send("hello", timeout: .seconds(2))
    } catch let error as QueueError {
        guard let send = error.unresolvedSend else { throw error }
        try await producer.resume(send)
    }
    // snippet.end
}

func delay(_ queue: MessageQueue, _ producer: QueueProducer, _ message: QueueMessage) async throws {
    // snippet.delay
    try await producer.send(OutgoingMessage("remind order 42", delay: .seconds(3_600), expiresAfter: .seconds(86_400)))
    try await message.requeue(after: .seconds(30), reason: "the bank does not respond")
    try await queue.update { $0.retry = .exponential(initial: .seconds(1), maximum: .seconds(600)) }
    // snippet.end
}

func group(_ producer: QueueProducer) async throws {
    // snippet.group
    try await producer.send(OutgoingMessage("pack order 42", group: "customer-7"))
    // snippet.end
}

func transactions(_ orders: MessageQueue, _ payments: MessageQueue, _ warehouse: MessageQueue) async throws {
    // snippet.transaction
    try await orders.transaction { transaction in
        transaction.send(.init("charge", id: "order-42"), to: payments)
        transaction.send(.init("pack"), to: warehouse)
        transaction.add(.create("/orders/42", data: []))
    }
    // snippet.end
}

func acknowledgeSending(_ order: QueueMessage, _ warehouse: MessageQueue) async throws {
    // snippet.acknowledge-sending
    try await order.acknowledge(sending: [.init("pack order 42")], to: warehouse, with: [.create("/paid/42", data: [])])
    // snippet.end
}

func withConsumer(_ queue: MessageQueue) async throws {
    // snippet.with-consumer
    try await queue.withConsumer(prefetch: 32) { messages in
        for try await message in messages {
            try await message.process { try await handle($0.payload) }
        }
    }
    // snippet.end
}

func service(_ zookeeper: ZooKeeperClient, _ queue: MessageQueue, _ logger: Logger) async throws {
    // snippet.service
    let worker = QueueWorker(QueueConsumer(queue), concurrency: 4) { message in try await handle(message) }
    try await ServiceGroup(
        services: [zookeeper, QueueRecovery(queue), worker],
        gracefulShutdownSignals: [.sigint, .sigterm], logger: logger
    ).run()
    // snippet.end
}

func capacity(_ queue: MessageQueue) async throws {
    // snippet.capacity
    try await queue.update { $0.capacity = .init(messages: 100_000, bytes: 200 << 20) }
    let producer = QueueProducer(queue, configuration: .init(whenFull: .wait))
    // snippet.end
    await producer.close()
}

func rejectMessage(_ message: QueueMessage) throws {
    // snippet.reject
    guard message.payload.count == 16 else { throw RejectedMessage("not an order ID") }
    // snippet.end
}
