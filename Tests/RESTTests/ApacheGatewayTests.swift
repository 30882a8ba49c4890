import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

@testable import ZooKeeperREST

/// The library over a gateway that answers as Apache's does.
@Suite(.timeLimit(.minutes(2)))
struct ApacheGatewayTests {
    private func withStore(
        configure: @escaping @Sendable (inout RESTConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (RESTNodeStore, ApacheGateway) async throws -> Void
    ) async throws {
        try await withApacheGateway { gateway, address in
            try await RESTTests.withStore(.plain, at: address, configure: configure) { try await body($0, gateway) }
        }
    }

    @Test("A queue lives over a gateway that leaves out what is empty")
    func aMessagesLife() async throws {
        try await withStore { store, _ in try await live(over: store) }
    }

    @Test("A list that is left out is empty, and data that is left out is null")
    func whatIsLeftOut() async throws {
        try await withStore { store, _ in
            _ = try await store.create("/null", data: nil, mode: .persistent)
            _ = try await store.create("/empty", data: [], mode: .persistent)
            let nodes = try await store.get(["/null", "/empty"])
            #expect(nodes.map { $0?.data } == [nil, []])
            let children = try await store.children(of: "/null")
            #expect(children.names.isEmpty && children.stat.numChildren == 0)
        }
    }

    @Test("Taking until the queue is empty ends, and the statistics are told")
    func takingEnds() async throws {
        try await withStore { store, _ in
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<20).map { OutgoingMessage("\($0)") })
            await producer.close()
            let taken = try await withDeadline("the end of the queue", within: .seconds(25)) {
                let consumer = QueueConsumer(queue)
                var messages = consumer.makeAsyncIterator()
                var taken = 0
                while let message = try await messages.next(within: .zero) {
                    try await message.acknowledge()
                    taken += 1
                }
                await consumer.close()
                return taken
            }
            #expect(taken == 20)
            let statistics = try await queue.statistics()
            #expect(statistics.ready == 0 && statistics.leased == 0 && statistics.deadLettered == 0)
        }
    }

    // MARK: Answers that are none

    @Test(
        "A response that cannot be understood is an error at once, which quotes it",
        arguments: [
            ApacheGateway.Answer(status: 200, body: "<html>\u{1B}[2J"), .init(status: 200, body: "{}"),
            .init(status: 302, body: "<html>"), .init(status: 404, body: "<html>not here"),
            .init(status: 200, body: String(repeating: "x", count: 1_000)),
        ])
    func anUnreadableResponse(_ answer: ApacheGateway.Answer) async throws {
        try await withStore { store, gateway in
            _ = try await store.create("/a", data: [], mode: .persistent)
            await gateway.meet(.replaced(answer))
            for read in [{ _ = try await store.get("/a") }, { _ = try await store.children(of: "/a") }]
                as [@Sendable () async throws -> Void]
            {
                try await withDeadline("an error", within: .seconds(15)) {
                    let error = await #expect(throws: ZooKeeperError.self) { try await read() }
                    #expect(error?.code == .unreadableResponse && error?.outcome == .notApplied, "\(error as Any)")
                    let message = error?.message ?? ""
                    #expect(message.contains("\(answer.status) \""), "\(message)")
                    #expect(message.utf8.count < 1_000 && !message.utf8.contains(0x1B), "\(message)")
                }
            }
        }
    }

    @Test("A write whose response cannot be understood may have been applied")
    func anUnreadableResponseToAWrite() async throws {
        try await withStore { store, gateway in
            _ = try await store.exists("/")
            await gateway.meet(.replaced(.init(status: 200, body: "<html>")))
            let error = await #expect(throws: ZooKeeperError.self) {
                _ = try await store.set("/a", data: [], version: nil)
            }
            #expect(error?.code == .unreadableResponse && error?.outcome == .unknown)
        }
    }

    @Test("A refusal that Apache's gateway has no status for is known by its words")
    func noRights() async throws {
        try await withStore { store, gateway in
            _ = try await store.exists("/")
            let words = "Error processing request for /a : KeeperErrorCode = NoAuth for /a"
            await gateway.meet(.replaced(.init(status: 502, body: "{\"request\":\"a\",\"message\":\"\(words)\"}")))
            try await withDeadline("the refusal", within: .seconds(15)) {
                let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.get("/a") }
                #expect(error?.code == .noAuth && error?.outcome == .notApplied)
            }
        }
    }

    @Test("A call that ends in an outage quotes the last answer, and no session")
    func anOutageIsQuoted() async throws {
        try await withStore(configure: { $0.requestTimeout = .seconds(2) }) { store, gateway in
            _ = try await store.exists("/")
            await gateway.meet(.outage)
            let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.get("/a") }
            #expect(error?.code == .deadlineExceeded && error?.outcome == .notApplied)
            #expect(error?.message.contains("502 \"Error processing request for /a") == true, "\(error as Any)")
            #expect(error?.message.contains("session=") == false)
        }
    }

    // MARK: Outages

    @Test("A consumer goes on after an outage that is longer than its session")
    func aConsumerGoesOnAfterAnOutage() async throws {
        try await withStore(configure: { $0.sessionTimeout = .seconds(2) }) { store, gateway in
            let queue = try MessageQueue(store: store).creating(with: .init(redeliveryDelay: .zero))
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<4).map { OutgoingMessage("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 4))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            await gateway.meet(.outage)
            let acknowledging = Task { try await held.acknowledge() }
            for await state in store.sessionStates where state.expirations > 0 { break }
            await gateway.meet(nil)
            // As over ZooKeeper's own protocol: the lease is lost, and all else goes on.
            let error = await #expect(throws: QueueError.self) { try await acknowledging.value }
            #expect(error?.code == .leaseLost, "\(error as Any)")
            let report = try await QueueRecovery(queue).recover()
            #expect(report.redelivered == 4)
            var taken: Set<String> = []
            while taken.count < 4, let message = try await messages.next(within: .seconds(20)) {
                try await message.acknowledge()
                taken.insert(String(decoding: message.payload, as: UTF8.self))
            }
            #expect(taken == ["0", "1", "2", "3"])
            await consumer.close()
        }
    }

    @Test("The next session does not wait for a request that hangs in the old one")
    func theNextSessionDoesNotWait() async throws {
        let zookeeper = InMemoryZooKeeper()
        try await withApacheGateway(zookeeper) { first, address in
            try await withApacheGateway(zookeeper) { _, other in
                try await RESTTests.withStore(
                    .plain, at: address,
                    configure: {
                        $0.gateways.append(other)
                        $0.sessionTimeout = .seconds(2)
                    }
                ) { store in
                    _ = try await store.exists("/")
                    await first.meet(.hanging)
                    let hanging = Task { try await store.create("/a", data: [], mode: .persistent) }
                    for await method in first.unanswered where method == "POST" { break }
                    // It waits for its turn behind the one that hangs.
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

    @Test("A write that waits for its turn ends at its own deadline, and was not sent")
    func aTurnIsWaitedForInTime() async throws {
        let turn = AsyncMutex()
        try await turn.lock(until: .now + .seconds(60))
        let error = await #expect(throws: ZooKeeperError.self) { try await turn.lock(until: .now + .milliseconds(50)) }
        #expect(error?.code == .deadlineExceeded && error?.outcome == .notApplied)
        let cancelled = Task { try await turn.lock(until: .now + .seconds(60)) }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        let next = Task { try await turn.lock(until: .now + .seconds(60)) }
        turn.unlock()
        try await next.value
        turn.unlock()
        // It is free.
        try await turn.lock(until: .now)
    }

    // MARK: Bytes

    @Test("Paths that are equal as strings are two nodes of a transaction")
    func pathsAreBytes() throws {
        let (composed, decomposed) = ("/\u{E9}", "/e\u{301}")
        let transaction = try Saga([.delete(composed, version: 0), .create(decomposed, data: [])])
        #expect(transaction.paths.count == 2)
        #expect(!transaction.matches([.delete(decomposed, version: 0), .create(decomposed, data: [])]))
        // A slash and what is combined with it are one character.
        #expect(Saga.parent("/a/\u{301}b").utf8.elementsEqual("/a".utf8))
    }

    @Test("Names of users that are equal as strings are two")
    func usersAreBytes() {
        let user = RESTConfiguration.Credentials(user: "\u{E9}", password: "a")
        #expect(user != RESTConfiguration.Credentials(user: "e\u{301}", password: "a"))
    }
}
