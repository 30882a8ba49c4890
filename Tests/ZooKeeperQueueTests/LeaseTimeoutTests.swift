import Simulation
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Leases of consumers that do not renew them, and leases that an operator takes away.
@Suite(.timeLimit(.minutes(1)))
struct LeaseTimeoutTests {
    private static let attributes = QueueAttributes(leaseTimeout: .seconds(12))

    /// Runs a recovery during `body`.
    private func whileRecovering<Result: Sendable>(
        _ queue: MessageQueue, _ body: () async throws -> Result
    ) async throws -> Result {
        let recovery = Task { try await QueueRecovery(queue, configuration: .init(interval: .seconds(1))).run() }
        let result = try await body()
        recovery.cancel()
        try await recovery.value
        return result
    }

    private func send(_ queue: MessageQueue, _ payloads: [String]) async throws {
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: payloads.map { OutgoingMessage($0) })
        await producer.close()
    }

    @Test("A process that does nothing while its session lives loses its leases to others", arguments: [1, 10])
    func silentProcess(_ batch: Int) throws {
        var attributes = Self.attributes
        attributes.maximumBatchSize = batch
        try simulateQueue(attributes) { simulation, queue in
            try await send(queue, ["a", "b", "c"])
            let store = simulation.zookeeper.connect("wedged", sessionTimeout: .seconds(600))
            let wedged = QueueConsumer(try MessageQueue(store: store))
            var messages = wedged.makeAsyncIterator()
            let held = try #require(try await messages.next())
            // The process is stopped, and sends nothing. Its session lives much longer.
            store.pause(for: .seconds(120))
            let start = queue.store.now
            let taken = try await whileRecovering(queue) {
                let other = QueueConsumer(queue)
                var messages = other.makeAsyncIterator()
                var taken: [String] = []
                while taken.count < 3, let message = try await messages.next() {
                    #expect(message.deliveryCount == 2)
                    taken.append(String(decoding: message.payload, as: UTF8.self))
                    try await message.acknowledge()
                }
                await other.close()
                return taken
            }
            // The wedged consumer counts as live, so the other one begins with another part of the list.
            #expect(taken.sorted() == ["a", "b", "c"])
            let duration = queue.store.now - start
            #expect(duration >= .seconds(12) && duration < .seconds(15), "\(duration)")

            // The process continues. It hands out nothing that it has lost.
            try await queue.store.sleep(for: .seconds(130))
            await expect(.leaseLost) { try await held.acknowledge() }
            #expect(try await messages.next(within: .zero) == nil)
            try await send(queue, ["d"])
            let next = try #require(try await messages.next())
            #expect(next.payload == Array("d".utf8))
            try await next.acknowledge()
            await wedged.close()
            let statistics = try await queue.statistics()
            #expect(statistics.ready + statistics.leased + statistics.recovering + statistics.consumers == 0)
        }
    }

    @Test("Each lease of a silent process is suspended, and then lost, before it hands out anything more")
    func leaseStates() throws {
        try simulateQueue(Self.attributes) { simulation, queue in
            try await send(queue, ["a", "b"])
            let store = simulation.zookeeper.connect("wedged", sessionTimeout: .seconds(600))
            let wedged = QueueConsumer(try MessageQueue(store: store))
            var messages = wedged.makeAsyncIterator()
            let held = try #require(try await messages.next())
            let states = Task {
                var states: [LeaseState] = []
                for await state in held.leaseStates { states.append(state) }
                return states
            }
            store.pause(for: .seconds(60))
            _ = try await whileRecovering(queue) { try await queue.store.sleep(for: .seconds(30)) }
            try await queue.store.sleep(for: .seconds(60))
            #expect(await states.value == [.held, .suspended, .lost])
            #expect(held.leaseState == .lost)
            await wedged.close()
            #expect(try await queue.drain() == ["a", "b"])
        }
    }

    @Test("A handler that runs for an hour keeps its lease, at the price of one write in a third of the timeout")
    func longHandler() throws {
        try simulateQueue(Self.attributes) { simulation, queue in
            try await send(queue, ["a", "b"])
            let store = simulation.zookeeper.connect("consumer")
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            let path = await consumer.state.registration?.paths.path ?? ""
            try await whileRecovering(queue) {
                func version() async throws -> Int { Int(try await queue.store.exists(path)?.version ?? -1) }
                let before = try await version()
                for _ in 0..<60 {
                    try await queue.store.sleep(for: .seconds(60))
                    #expect(held.leaseState == .held)
                }
                let writes = try await version() - before
                #expect(writes > 250 && writes <= 900, "\(writes)")
                try await held.acknowledge()
                let last = try #require(try await messages.next())
                try await last.acknowledge()
                // Without a lease there is nothing to renew.
                let idle = try await version()
                try await queue.store.sleep(for: .seconds(3_600))
                #expect(try await version() == idle)
            }
            await consumer.close()
        }
    }

    @Test("A consumer keeps its leases when the timeout becomes shorter, and when connections break")
    func shorterTimeout() throws {
        try simulateQueue(QueueAttributes(leaseTimeout: nil)) { simulation, queue in
            try await send(queue, ["a"])
            let store = simulation.zookeeper.connect("consumer", sessionTimeout: .seconds(20))
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            try await whileRecovering(queue) {
                try await queue.store.sleep(for: .seconds(600))
                for timeout in [Duration.seconds(3_600), .seconds(12)] {
                    try await queue.update { $0.leaseTimeout = timeout }
                    for _ in 0..<20 {
                        try await queue.store.sleep(for: .seconds(20))
                        store.disconnect(for: .seconds(3))
                    }
                }
            }
            #expect(held.leaseState == .held)
            try await held.acknowledge()
            await consumer.close()
        }
    }

    @Test("A consumer that does not renew its leases, as older releases, keeps them as long as its session lives")
    func olderRelease() throws {
        try simulateQueue(Self.attributes) { simulation, queue in
            let paths = queue.tree.consumer("consumer-0000000099")
            let store = simulation.zookeeper.connect("older")
            for path in [paths.path, paths.item, paths.lease("item-100-0000000001")] {
                _ = try await store.create(path, data: [], mode: .persistent)
            }
            _ = try await store.create(paths.active, data: [], mode: .ephemeral)
            try await whileRecovering(queue) { try await queue.store.sleep(for: .seconds(120)) }
            #expect(try await queue.statistics().leased == 1)
            await expect(.invalidArgument) { try await queue.releaseLease(ofNode: "item-100-0000000001") }
            #expect(try await queue.statistics().leased == 1)
            store.close()
        }
    }

    @Test("An operator takes a lease away, and its consumer finds that it is lost", arguments: [1, 10])
    func release(_ batch: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batch)) { _, queue in
            try await send(queue, ["a", "b", "c"])
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let settled = try #require(try await messages.next())
            let held = try #require(try await messages.next())
            try await settled.acknowledge()
            let info = try #require(try await queue.consumers().first)
            let node = try #require(info.leases.first { held.nodeName.hasPrefix($0.nodeName) })
            try await queue.releaseLease(ofNode: node.nodeName)
            await expect(.notFound) { try await queue.releaseLease(ofNode: node.nodeName) }
            await expect(.invalidArgument) { try await queue.releaseLease(ofNode: "a/b") }
            await expect(.leaseLost) { try await held.acknowledge() }
            #expect(held.leaseState == .lost)
            await consumer.close()
            try await QueueRecovery(queue).recover()
            #expect(try await queue.drain().sorted() == ["b", "c"])
            try await queue.expectStatistics(ready: 0, leased: 0, partial: 0, dead: 0, consumers: 0)
        }
    }
}
