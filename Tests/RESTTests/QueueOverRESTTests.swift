import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST

/// Tests producers, consumers and recoveries over each kind of gateway.
@Suite(.timeLimit(.minutes(3)))
struct QueueOverRESTTests {
    @Test("Messages are sent, delivered, requeued and dead-lettered", arguments: GatewayKind.allCases)
    func messageLifecycle(_ kind: GatewayKind) async throws {
        try await withStore(kind) { try await exerciseQueue(over: $0) }
    }

    @Test("A recovery redelivers the messages of a failed consumer", arguments: GatewayKind.allCases)
    func recovery(_ kind: GatewayKind) async throws {
        let servers = try await TestServer.address()
        try await withGateway(kind, servers: servers) { gateway in
            try await withStore(kind, at: gateway) { store in
                let queue = try MessageQueue(store: store).creating(with: .init(redeliveryDelay: .zero))
                let producer = QueueProducer(queue)
                try await producer.send(contentsOf: (0..<3).map { OutgoingMessage("\($0)") })
                await producer.close()
                try await withStore(kind, at: gateway) { failing in
                    let consumer = QueueConsumer(try MessageQueue(store: failing), configuration: .init(prefetch: 3))
                    var messages = consumer.makeAsyncIterator()
                    let held = try await messages.next()
                    #expect(held?.deliveryCount == 1)
                    // The session ends before the consumer can requeue its messages.
                    await failing.close()
                }
                let report = try await QueueRecovery(queue).recover()
                #expect(report.recovered == 3 && report.redelivered == 3)
                var counts: [Int] = []
                let consumer = QueueConsumer(queue)
                for try await message in consumer {
                    counts.append(message.deliveryCount)
                    try await message.acknowledge()
                    if counts.count == 3 { break }
                }
                await consumer.close()
                #expect(counts == [2, 2, 2])
            }
        }
    }

    @Test("A message that is sent over ZooKeeper's protocol wakes an idle consumer", arguments: GatewayKind.allCases)
    func idleConsumer(_ kind: GatewayKind) async throws {
        let servers = try await TestServer.address()
        try await withGateway(kind, servers: servers) { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
                try await withStore(kind, at: gateway) { store in
                    let queue = try MessageQueue(store: store)
                    try await queue.prepare()
                    let consumer = QueueConsumer(queue)
                    async let received: String? = withDeadline("a message") {
                        var messages = consumer.makeAsyncIterator()
                        let message = try await messages.next()
                        try await message?.acknowledge()
                        return message.map { String(decoding: $0.payload, as: UTF8.self) }
                    }
                    // The consumer joins the wait queue.
                    for try await children in zookeeper.childrenUpdates(of: "/queue/idle")
                    where children?.names.count == 1 {
                        break
                    }
                    let producer = QueueProducer(try MessageQueue(zookeeper))
                    try await producer.send("wake")
                    await producer.close()
                    let text = try await received
                    #expect(text == "wake")
                    await consumer.close()
                }
            }
        }
    }
}

/// Sends messages, and acknowledges, requeues or dead-letters each of them.
func exerciseQueue(over store: RESTNodeStore) async throws {
    let queue = try MessageQueue(store: store).creating(with: .init(maximumDeliveries: 2))
    let producer = QueueProducer(queue)
    try await producer.send(contentsOf: (0..<5).map { OutgoingMessage("m\($0)", headers: ["n": "\($0)"]) })
    try await producer.send("first", priority: 1)
    let first = try await producer.send(OutgoingMessage("once", id: "7"))
    let again = try await producer.send(OutgoingMessage("once", id: "7"))
    #expect(!first.isDuplicate && again.isDuplicate)
    await producer.close()
    let consumer = QueueConsumer(queue, configuration: .init(prefetch: 3))
    var received: [String] = []
    var messages = consumer.makeAsyncIterator()
    while let message = try await messages.next(within: .seconds(1)) {
        let text = String(decoding: message.payload, as: UTF8.self)
        received.append(text)
        switch text {
        case "m1" where message.deliveryCount == 1: try await message.requeue()
        case "m2": try await message.deadLetter(reason: "bad")
        default: try await message.acknowledge()
        }
    }
    #expect(received.first == "first")
    #expect(received.filter { $0 == "m1" }.count == 2)
    #expect(Set(received) == ["first", "m0", "m1", "m2", "m3", "m4", "once"])
    await consumer.close()
    let statistics = try await queue.statistics()
    #expect(
        statistics.ready == 0 && statistics.leased == 0 && statistics.deadLettered == 1 && statistics.consumers == 0)
}
