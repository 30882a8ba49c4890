import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

@testable import ZooKeeperREST

/// Tests the library over a gateway that responds as Apache's does.
@Suite(.timeLimit(.minutes(2)))
struct ApacheGatewayTests {
    private func withStore(
        configure: @escaping @Sendable (inout RESTConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (RESTNodeStore, ApacheGateway) async throws -> Void
    ) async throws {
        try await withApacheGateway { gateway, address in
            try await RESTTests.withStore(.standard, at: address, configure: configure) { try await body($0, gateway) }
        }
    }

    @Test("Messages are sent, delivered, requeued and dead-lettered")
    func messageLifecycle() async throws {
        try await withStore { store, _ in try await exerciseQueue(over: store) }
    }

    @Test("An omitted list is empty, and omitted data is null")
    func omittedFields() async throws {
        try await withStore { store, _ in
            _ = try await store.create("/null", data: nil, mode: .persistent)
            _ = try await store.create("/empty", data: [], mode: .persistent)
            let nodes = try await store.get(["/null", "/empty"])
            #expect(nodes.map { $0?.data } == [nil, []])
            let children = try await store.children(of: "/null")
            #expect(children.names.isEmpty && children.stat.numChildren == 0)
        }
    }

    @Test("Draining a queue ends, and the statistics then show no messages")
    func drainedQueue() async throws {
        try await withStore { store, _ in
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<20).map { OutgoingMessage("\($0)") })
            await producer.close()
            let received = try await withDeadline("the end of the queue", within: .seconds(25)) {
                let consumer = QueueConsumer(queue)
                var messages = consumer.makeAsyncIterator()
                var received = 0
                while let message = try await messages.next(within: .zero) {
                    try await message.acknowledge()
                    received += 1
                }
                await consumer.close()
                return received
            }
            #expect(received == 20)
            let statistics = try await queue.statistics()
            #expect(statistics.ready == 0 && statistics.leased == 0 && statistics.deadLettered == 0)
        }
    }

    // MARK: Responses that cannot be understood

    @Test(
        "A response that cannot be understood is an error at once, which quotes it",
        arguments: [
            ApacheGateway.Response(status: 200, body: "<html>\u{1B}[2J"), .init(status: 200, body: "{}"),
            .init(status: 302, body: "<html>"), .init(status: 404, body: "<html>not here"),
            .init(status: 200, body: String(repeating: "x", count: 1_000)),
        ])
    func unreadableResponse(_ response: ApacheGateway.Response) async throws {
        try await withStore { store, gateway in
            _ = try await store.create("/a", data: [], mode: .persistent)
            await gateway.inject(.replaced(response))
            for read in [{ _ = try await store.get("/a") }, { _ = try await store.children(of: "/a") }]
                as [@Sendable () async throws -> Void]
            {
                try await withDeadline("an error", within: .seconds(15)) {
                    let error = await #expect(throws: ZooKeeperError.self) { try await read() }
                    #expect(error?.code == .unreadableResponse && error?.outcome == .notApplied, "\(error as Any)")
                    let message = error?.message ?? ""
                    #expect(message.contains("\(response.status) \""), "\(message)")
                    #expect(message.utf8.count < 1_000 && !message.utf8.contains(0x1B), "\(message)")
                }
            }
        }
    }

    @Test("A write whose response cannot be understood may have been applied")
    func unreadableResponseToWrite() async throws {
        try await withStore { store, gateway in
            _ = try await store.exists("/")
            await gateway.inject(.replaced(.init(status: 200, body: "<html>")))
            let error = await #expect(throws: ZooKeeperError.self) {
                _ = try await store.set("/a", data: [], version: nil)
            }
            #expect(error?.code == .unreadableResponse && error?.outcome == .unknown)
        }
    }

    @Test("A missing permission is recognized by ZooKeeper's code in the message")
    func missingPermission() async throws {
        try await withStore { store, gateway in
            _ = try await store.exists("/")
            let text = "Error processing request for /a : KeeperErrorCode = NoAuth for /a"
            await gateway.inject(.replaced(.init(status: 502, body: "{\"request\":\"a\",\"message\":\"\(text)\"}")))
            try await withDeadline("the error", within: .seconds(15)) {
                let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.get("/a") }
                #expect(error?.code == .noAuth && error?.outcome == .notApplied)
            }
        }
    }

    @Test("A call that times out in an outage quotes the last response, without the session's ID")
    func quotedOutage() async throws {
        try await withStore(configure: { $0.requestTimeout = .seconds(2) }) { store, gateway in
            _ = try await store.exists("/")
            await gateway.inject(.outage)
            let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.get("/a") }
            #expect(error?.code == .deadlineExceeded && error?.outcome == .notApplied)
            #expect(error?.message.contains("502 \"Error processing request for /a") == true, "\(error as Any)")
            #expect(error?.message.contains("session=") == false)
        }
    }

    // MARK: Outages

    @Test("A consumer loses its leases in an outage that outlasts its session, and then continues")
    func outage() async throws {
        try await withStore(configure: { $0.sessionTimeout = .seconds(2) }) { store, gateway in
            let queue = try MessageQueue(store: store).creating(with: .init(redeliveryDelay: .zero))
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<4).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 4))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            await gateway.inject(.outage)
            let acknowledging = Task { try await held.acknowledge() }
            for await state in store.sessionStates where state.expirations > 0 { break }
            await gateway.inject(nil)
            // As over ZooKeeper's own protocol, the lease is lost, and the consumer continues.
            let error = await #expect(throws: QueueError.self) { try await acknowledging.value }
            #expect(error?.code == .leaseLost, "\(error as Any)")
            let report = try await QueueRecovery(queue).recover()
            #expect(report.redelivered == 4)
            var received: Set<String> = []
            while received.count < 4, let message = try await messages.next(within: .seconds(20)) {
                try await message.acknowledge()
                received.insert(String(decoding: message.payload, as: UTF8.self))
            }
            #expect(received == ["0", "1", "2", "3"])
            await consumer.close()
        }
    }

    @Test("The next session does not wait for a request that hangs in the old one")
    func hangingRequest() async throws {
        let zookeeper = InMemoryZooKeeper()
        try await withApacheGateway(zookeeper) { first, address in
            try await withApacheGateway(zookeeper) { _, other in
                try await RESTTests.withStore(
                    .standard, at: address,
                    configure: {
                        $0.gateways.append(other)
                        $0.sessionTimeout = .seconds(2)
                    }
                ) { store in
                    _ = try await store.exists("/")
                    await first.inject(.hanging)
                    let hanging = Task { try await store.create("/a", data: [], mode: .persistent) }
                    for await method in first.unanswered where method == "POST" { break }
                    // The transaction waits behind the write that hangs.
                    let transaction = Task { try await store.multi([.create("/c", data: [])]) }
                    for await state in store.sessionStates where state.expirations > 0 && state.phase == .connected {
                        break
                    }
                    try await withDeadline("writes in the next session", within: .seconds(10)) {
                        _ = try await store.create("/b", data: [], mode: .persistent)
                        _ = try await transaction.value
                    }
                    let error = await #expect(throws: ZooKeeperError.self) { _ = try await hanging.value }
                    #expect(error?.outcome == .unknown)
                }
            }
        }
    }

    @Test("A write that waits for earlier ones ends at its own deadline, and was not sent")
    func mutexDeadline() async throws {
        let mutex = AsyncMutex()
        try await mutex.lock(until: .now + .seconds(60))
        let error = await #expect(throws: ZooKeeperError.self) { try await mutex.lock(until: .now + .milliseconds(50)) }
        #expect(error?.code == .deadlineExceeded && error?.outcome == .notApplied)
        let cancelled = Task { try await mutex.lock(until: .now + .seconds(60)) }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        let next = Task { try await mutex.lock(until: .now + .seconds(60)) }
        mutex.unlock()
        try await next.value
        mutex.unlock()
        // The mutex is free, so this call does not wait.
        try await mutex.lock(until: .now)
    }

    // MARK: Bytes

    @Test("A saga treats paths that are equal as strings, but not as bytes, as two nodes")
    func pathsAreBytes() throws {
        let (composed, decomposed) = ("/\u{E9}", "/e\u{301}")
        let saga = try Saga([.delete(composed, version: 0), .create(decomposed, data: [])])
        #expect(saga.paths.count == 2)
        #expect(!saga.matches([.delete(decomposed, version: 0), .create(decomposed, data: [])]))
        // A slash and the combining mark after it are one character.
        #expect(Saga.parent("/a/\u{301}b").utf8.elementsEqual("/a".utf8))
    }

    @Test("User names that are equal as strings, but not as bytes, are different")
    func userNamesAreBytes() {
        let user = RESTConfiguration.Credentials(user: "\u{E9}", password: "a")
        #expect(user != RESTConfiguration.Credentials(user: "e\u{301}", password: "a"))
    }
}
