import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Idle consumers, on the in-memory ZooKeeper, whose calls can be counted.
@Suite(.timeLimit(.minutes(1)))
struct IdleLineTests {
    private func untilInLine(_ count: Int, _ zookeeper: InMemoryZooKeeper) async throws {
        let queue = try MessageQueue(store: zookeeper.connect("onlooker"))
        let store = queue.store
        try await queue.prepare()
        for try await children in store.childrenUpdates(of: queue.tree.idle) where children?.names.count == count {
            return
        }
    }

    /// Consumers, each of which takes messages until it is cancelled.
    private func withIdleConsumers(
        _ count: Int, handler: @escaping @Sendable (QueueMessage) async throws -> Void,
        seeing call: @escaping @Sendable (CallSite) -> Void = { _ in },
        _ body: (InMemoryZooKeeper, [InMemorySession]) async throws -> Void
    ) async throws {
        let zookeeper = InMemoryZooKeeper()
        let sessions = (0..<count).map { number in
            zookeeper.connect(
                "consumer\(number)",
                faults: { site in
                    call(site)
                    return nil
                })
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for session in sessions {
                group.addTask {
                    for try await message in QueueConsumer(try MessageQueue(store: session)) {
                        try await handler(message)
                    }
                }
            }
            try await untilInLine(count, zookeeper)
            try await body(zookeeper, sessions)
            group.cancelAll()
        }
    }

    @Test func aMessageWakesOneOfMany() async throws {
        let (taken, report) = AsyncStream.makeStream(of: Void.self)
        let reads = Mutex(0)
        try await withIdleConsumers(50) { message in
            try await message.acknowledge()
            report.yield()
        } seeing: { site in
            // Those who have just come still look for their places.
            if site.isRead, site.path.hasPrefix("/queue/items") { reads.withLock { $0 += 1 } }
        } _: { zookeeper, _ in
            var arrivals = taken.makeAsyncIterator()
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            for _ in 0..<5 {
                let before = reads.withLock { $0 }
                try await producer.send("x")
                _ = await arrivals.next()
                // A list, the message, and a list to wait again; and those of the next in line, if the first has left.
                #expect(reads.withLock { $0 } - before <= 5)
            }
            await producer.close()
        }
    }

    /// While the handlers of the first ones are busy, the next in line take what comes, each at once.
    @Test func theBusyLeaveTheirPlaceToTheNext() async throws {
        let (taken, report) = AsyncStream.makeStream(of: String.self)
        try await withIdleConsumers(5) { message in
            report.yield(String(decoding: message.payload, as: UTF8.self))
            // Busy until the end of the test.
            try await Task.sleep(for: .seconds(60))
        } _: { zookeeper, _ in
            var arrivals = taken.makeAsyncIterator()
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            for number in 0..<5 {
                try await producer.send("\(number)")
                #expect(await arrivals.next() == "\(number)")
            }
            await producer.close()
        }
    }

    @Test func theLineClosesUpWhenTheFirstOnesFail() async throws {
        let (taken, report) = AsyncStream.makeStream(of: Void.self)
        try await withIdleConsumers(6) { message in
            try await message.acknowledge()
            report.yield()
        } _: { zookeeper, sessions in
            var arrivals = taken.makeAsyncIterator()
            for session in sessions.prefix(3) { session.close() }
            let producer = QueueProducer(try MessageQueue(store: zookeeper.connect("producer")))
            try await producer.send("x")
            #expect(await arrivals.next() != nil)
            await producer.close()
        }
    }
}
