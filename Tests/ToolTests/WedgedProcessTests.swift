import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperQueue

/// A consumer in a process that no longer runs Swift tasks.
@Suite(.timeLimit(.minutes(2)))
struct WedgedProcessTests {
    @Test("A process whose threads are all blocked loses its leases to others while its session lives")
    func blockedThreads() async throws {
        let wedged = Tool(
            address: try await TestServer.address(), path: Tool.products.appending("wedged-consumer"))
        try await ZooKeeperClient.withClient(configuration: .init(servers: wedged.address)) { client in
            let queue = try MessageQueue(client)
            try await queue.createIfNeeded(.init(leaseTimeout: .seconds(6)))
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: ["a", "b", "c"].map { OutgoingMessage($0) })
            await producer.close()
            let recovering = Task {
                try await QueueRecovery(queue, configuration: .init(interval: .milliseconds(500))).run()
            }
            _ = try await wedged.started { _, output in
                var lines = output.makeAsyncIterator()
                #expect(try await lines.next() == "a")
                let claimedAt = try #require(try await queue.consumers().first?.leases.first?.claimedAt)
                try await queue.withConsumer { consumer in
                    var messages = consumer.makeAsyncIterator()
                    for _ in 0..<3 {
                        let message = try #require(try await messages.next())
                        #expect(message.deliveryCount == 2)
                        try await message.acknowledge()
                    }
                }
                // The server has this machine's clock.
                let duration = claimedAt.duration(to: .ofThisMachine)
                print("The leases were taken \(duration) after the claim")
                #expect(duration > .seconds(6))
                let consumers = try await queue.consumers()
                #expect(consumers.map(\.isAlive) == [true] && consumers.map(\.leases) == [[]])
            }
            recovering.cancel()
            try await recovering.value
        }
    }
}
