import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper
@testable import ZooKeeperQueue

/// A leader numbers its transactions with 32 bits. It steps down after the last number, and a new leader starts at
/// zero.
@Suite(.timeLimit(.minutes(2)))
struct ForcedElectionTests {
    @Test("No message is lost or reordered when leaders run out of transaction numbers")
    func survivesElections() async throws {
        var configuration = LocalEnsembleConfiguration.forTests(servers: 3)
        // A property that ZooKeeper has for tests: each leader starts a thousand transactions before the last number.
        configuration.systemProperties["zookeeper.testingonly.initialZxid"] = "\(UInt32.max - 1_000)"
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let clientConfiguration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(8))
            try await ZooKeeperClient.withClient(configuration: clientConfiguration) { client in
                let queue = try MessageQueue(client)
                let first = try await client.create("/first").stat.czxid
                async let received = Self.receive(2_000, from: queue)
                let producer = QueueProducer(queue)
                for number in 0..<2_000 { try await Self.send("\(number)", producer) }
                await producer.close()
                let messages = try await received
                #expect(messages.map(\.payload) == (0..<2_000).map { "\($0)" })
                // The messages of one transaction have the same token.
                #expect(zip(messages, messages.dropFirst()).allSatisfy { $0.token <= $1.token })
                let last = try await client.create("/last").stat.czxid
                #expect(
                    last >> 32 >= first >> 32 + 3,
                    "fewer than three elections, from epoch \(first >> 32) to \(last >> 32)")
                try await queue.expectEmptyTreeAfterRecovery()
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

    private static func receive(_ count: Int, from queue: MessageQueue) async throws -> [(
        payload: String, token: Int64
    )] {
        let consumer = QueueConsumer(queue)
        var received: [(payload: String, token: Int64)] = []
        for try await message in consumer {
            received.append((String(decoding: message.payload, as: UTF8.self), message.fencingToken))
            try await message.acknowledge()
            if received.count == count { break }
        }
        await consumer.close()
        return received
    }
}
