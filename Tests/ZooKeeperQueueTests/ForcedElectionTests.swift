import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper
@testable import ZooKeeperQueue

/// A leader numbers its transactions with 32 bits; after the last number it steps down, and a new one begins at zero.
@Suite(.timeLimit(.minutes(2)))
struct ForcedElectionTests {
    @Test func nothingIsLostWhenTheNumbersOfALeaderEnd() async throws {
        var configuration = LocalEnsembleConfiguration.forTests(servers: 3)
        // ZooKeeper's own means to test it: each leader begins with this number, a thousand before the last.
        configuration.systemProperties["zookeeper.testingonly.initialZxid"] = "\(UInt32.max - 1_000)"
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let settings = try ZooKeeperConfiguration(servers: ensemble.connectString, sessionTimeout: .seconds(8))
            try await ZooKeeperClient.withClient(configuration: settings) { client in
                let queue = try MessageQueue(client)
                let first = try await client.create("/first").stat.czxid
                async let taken = Self.take(2_000, from: queue)
                let producer = QueueProducer(queue)
                for number in 0..<2_000 { try await Self.send("\(number)", producer) }
                await producer.close()
                let messages = try await taken
                #expect(messages.map(\.payload) == (0..<2_000).map { "\($0)" })
                // One claim may take several messages.
                #expect(zip(messages, messages.dropFirst()).allSatisfy { $0.token <= $1.token })
                let last = try await client.create("/last").stat.czxid
                #expect(last >> 32 >= first >> 32 + 3, "three elections at least: \(first >> 32) to \(last >> 32)")
                try await queue.expectEmptyTree()
            }
        }
    }

    private static func send(_ text: String, _ producer: QueueProducer) async throws {
        do {
            try await producer.send(text)
        } catch let error as QueueError {
            guard let unresolved = error.unresolvedSend else { throw error }
            try await producer.resume(unresolved)
        }
    }

    private static func take(_ count: Int, from queue: MessageQueue) async throws -> [(payload: String, token: Int64)] {
        let consumer = QueueConsumer(queue)
        var taken: [(payload: String, token: Int64)] = []
        for try await message in consumer {
            taken.append((String(decoding: message.payload, as: UTF8.self), message.fencingToken))
            try await message.acknowledge()
            if taken.count == count { break }
        }
        await consumer.close()
        return taken
    }
}
