import Simulation
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Messages that are stored together with an acknowledgement, with messages of other queues, or with other changes.
@Suite(.timeLimit(.minutes(2)))
struct TransactionTests {
    /// Runs `body` with two queues, and with the first message of the first one.
    private func withMessage(
        _ name: String = #function,
        _ body: (ZooKeeperClient, QueueMessage, _ next: MessageQueue) async throws -> Void
    ) async throws {
        try await withTestQueue(name) { client, queue in
            let next = try MessageQueue(client, path: "/next")
            let producer = QueueProducer(queue)
            try await producer.send("job")
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            try await body(client, try #require(try await messages.next()), next)
            await consumer.close()
        }
    }

    @Test("An acknowledgement sends messages to another queue, and changes a node, in one transaction")
    func acknowledgeSending() async throws {
        try await withMessage { client, message, next in
            try await client.create("/balance", data: [0])
            try await message.acknowledge(
                sending: [.init("a", priority: 7), .init("b")], to: next,
                with: [.set("/balance", data: [1], version: 0)])
            #expect(message.leaseState == .settled)
            let items = try await client.children(of: "/next/items").names.sorted()
            let balance = try await client.get("/balance")
            for item in items { #expect(try await client.get("/next/items/\(item)").stat.czxid == balance.stat.mzxid) }
            #expect(balance.data == [1])
            #expect(try await next.drain() == ["a", "b"])
            await expect(.alreadySettled) { try await message.acknowledge() }
        }
    }

    @Test("A refused operation of the caller changes nothing, and the error has its index")
    func refusedOperation() async throws {
        try await withMessage { client, message, next in
            try await client.create("/balance", data: [0])
            do {
                try await message.acknowledge(
                    sending: [.init("a")], to: next,
                    with: [.check("/balance"), .set("/balance", data: [1], version: 5)])
                Issue.record("nothing was thrown")
            } catch let error as QueueError {
                #expect(error.code == .operationRefused && error.cause?.operationIndex == 1, "\(error)")
            }
            #expect(message.leaseState == .held)
            #expect(try await next.statistics().ready == 0)
            try await message.acknowledge(sending: [.init("a")], to: next)
            #expect(try await next.drain() == ["a"])
        }
    }

    @Test("A handler that sends in its acknowledgement needs no other one")
    func process() async throws {
        try await withMessage { _, message, next in
            try await message.process { try await $0.acknowledge(sending: [.init("a")], to: next) }
            #expect(message.leaseState == .settled)
            #expect(try await next.drain() == ["a"])
        }
    }

    @Test("A message with a stored ID is left out, and the rest happens")
    func storedID() async throws {
        try await withMessage { _, message, next in
            let producer = QueueProducer(next)
            try await producer.send(.init("first", id: "x"))
            await producer.close()
            try await message.acknowledge(sending: [.init("again", id: "x"), .init("b", id: "y")], to: next)
            #expect(message.leaseState == .settled)
            #expect(try await next.drain() == ["first", "b"])
        }
    }

    @Test("Delayed and expiring messages keep their times")
    func times() async throws {
        try await withMessage { client, message, next in
            try await next.createIfNeeded()
            let time = try await next.readClock().advanced(by: .seconds(7_200))
            try await message.acknowledge(
                sending: [
                    .init("later", delay: .seconds(3_600)), .init("at", deliverAt: time),
                    .init("short", expiresAfter: .seconds(60)),
                ], to: next)
            let delayed = try await next.delayedMessages()
            #expect(delayed.map { String(decoding: $0.payload, as: UTF8.self) } == ["later", "at"])
            #expect(delayed.last?.dueAt == time)
            let peeked = try await next.peek(limit: 1).first?.expiresAt
            #expect(try #require(peeked) > time.advanced(by: .seconds(-7_200)))
        }
    }

    @Test("Bad transactions are refused before anything is sent, and leave the lease")
    func refusedBeforeSending() async throws {
        try await withMessage { client, message, next in
            let missing = try MessageQueue(client, path: "/missing", createIfMissing: false)
            await expect(.queueNotFound) { try await message.acknowledge(sending: [.init("a")], to: missing) }
            await expect(.invalidArgument) {
                try await message.acknowledge(sending: [.init("a", priority: 1_000)], to: next)
            }
            let long = String(repeating: "x", count: 200_000)
            await expect(.payloadTooLarge) {
                try await message.acknowledge(sending: (0..<6).map { _ in .init(long) }, to: next)
            }
            await expect(.payloadTooLarge) {
                try await message.acknowledge(sending: (0..<1_000).map { .init("\($0)") }, to: next)
            }
            try await withAnotherClient(like: client) { other in
                let queue = try MessageQueue(other, path: "/next")
                await expect(.invalidArgument) { try await message.acknowledge(sending: [.init("a")], to: queue) }
            }
            try await next.createIfNeeded()
            try await next.update { $0.paused = [.send] }
            await expect(.paused) { try await message.acknowledge(sending: [.init("a")], to: next) }
            try await next.update { ($0.paused, $0.capacity) = ([], .init(messages: 1)) }
            try await next.transaction { $0.send(.init("full"), to: next) }
            await expect(.queueFull) { try await message.acknowledge(sending: [.init("a")], to: next) }
            #expect(message.leaseState == .held)
            #expect(try await next.drain() == ["full"])
            try await message.acknowledge(sending: [.init("a")], to: next)
            #expect(try await next.drain() == ["a"])
        }
    }

    @Test("A transaction stores messages in several queues, returns their names, and leaves nothing else")
    func severalQueues() async throws {
        try await withTestQueue { client, queue in
            let next = try MessageQueue(client, path: "/next")
            let receipts = try await queue.transaction { transaction in
                transaction.send(.init("a"), to: next)
                transaction.send(contentsOf: [.init("b"), .init("c", id: "c")], to: queue)
                transaction.send(.init("d"), to: next)
                transaction.add(.create("/done", data: []))
            }
            #expect(
                receipts.map(\.nodeName) == [
                    "item-100-0000000000", "item-100-0000000000", "item-100-0000000001", "item-100-0000000001",
                ])
            #expect(try await client.exists("/done") != nil)
            let again = try await queue.transaction { $0.send(.init("c", id: "c"), to: queue) }
            #expect(again.map(\.isDuplicate) == [true])
            #expect(try await client.children(of: "/queue/producers").names.isEmpty)
            #expect(try await queue.drain() == ["b", "c"])
            #expect(try await next.drain() == ["a", "d"])
        }
    }

    @Test("A transaction whose operation is refused stores no message")
    func refusedTransaction() async throws {
        try await withTestQueue { client, queue in
            await expect(.operationRefused) {
                try await queue.transaction { transaction in
                    transaction.send(.init("a"), to: queue)
                    transaction.add(.check("/missing"))
                }
            }
            let receipts = try await queue.transaction { _ in }
            #expect(receipts.isEmpty)
            #expect(try await queue.statistics().ready == 0)
            #expect(try await client.children(of: "/queue/producers").names.isEmpty)
        }
    }

    @Test("An acknowledgement with messages says that the lease is lost, also when the other queue is paused")
    func lostLease() async throws {
        try await withMessage { client, message, next in
            try await next.createIfNeeded(.init(paused: [.send]))
            let queue = try MessageQueue(client)
            try await queue.releaseLease(ofNode: message.nodeName)
            await expect(.leaseLost) { try await message.acknowledge() }
            await expect(.leaseLost) { try await message.acknowledge(sending: [.init("a")], to: next) }
        }
    }

    @Test("A transaction whose first reply is lost is applied once")
    func lostReply() throws {
        let simulation = Simulation(.fixed, timeLimit: .seconds(7_200))
        try simulation.run {
            let fault = OneTimeFault(.replyLost)
            let store = simulation.zookeeper.connect("client", faults: fault.plan)
            let queue = try MessageQueue(store: store)
            await expect(.queueNotFound) {
                let missing = try MessageQueue(store: store, path: "/missing", createIfMissing: false)
                try await missing.transaction { $0.send(.init("a"), to: missing) }
            }
            fault.arm()
            // The second attempt finds the mark of the first.
            let receipts = try await queue.transaction { $0.send(.init("a"), to: queue) }
            #expect(receipts.map(\.nodeName) == [nil])
            #expect(try await queue.statistics().ready == 1)
            store.crash()
        }
    }
}
