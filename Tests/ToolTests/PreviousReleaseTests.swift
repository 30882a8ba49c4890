import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperQueue

/// The tool of the previous release.
enum PreviousRelease {
    /// The path at which `scripts/previous-release` installs it, beside the build products.
    static let path = Tool.products.removingLastComponent().removingLastComponent().appending("previous")
        .appending("zkq")

    static var isBuilt: Bool { FileManager.default.isExecutableFile(atPath: path.string) }
}

extension QueueStatistics {
    fileprivate var isEmpty: Bool { ready == 0 && leased == 0 }
}

/// Tests the tool of the previous release and this one on one queue.
@Suite(.timeLimit(.minutes(2)), .enabled(if: PreviousRelease.isBuilt, "make test builds the previous release"))
struct PreviousReleaseTests {
    private func lines(_ release: String, _ round: Int) -> [String] { (1...200).map { "\(release)-\(round)-\($0)" } }

    /// Sends with both releases in five rounds, and waits for a rollover in each, because both consumers must be running
    /// during it.
    private func sendDuringRollovers(_ old: Tool, _ new: Tool, _ client: ZooKeeperClient) async throws {
        for round in 1...5 {
            async let oldPut = old("put", "--lines", input: lines("old", round).joined(separator: "\n"))
            async let newPut = new("put", "--lines", input: lines("new", round).joined(separator: "\n"))
            for result in [try await oldPut, try await newPut] {
                #expect(result.isSuccess && result.lines.count == 200, "\(result.error)")
            }
            for try await node in client.dataUpdates(of: "/queue/epoch") {
                if let node, try SequenceEpoch(node).number >= round { break }
            }
        }
    }

    /// Takes messages until `sending` has ended and the queue is empty. A limit in seconds, such as `--wait` has, would
    /// end it too early on a busy machine.
    ///
    /// - Returns: the payloads.
    private func take(_ tool: Tool, until sending: Task<Void, any Error>, isEmpty queue: MessageQueue) async throws
        -> [String]
    {
        var lines: [String] = []
        _ = try await tool.started("take") { pid, output in
            async let stopped: Void = {
                defer { kill(pid, SIGTERM) }
                try await sending.value
                // A count of several folders, of which no single watch tells.
                while try await !queue.statistics().isEmpty { try await Task.sleep(for: .milliseconds(50)) }
            }()
            for try await line in output { lines.append(line) }
            try await stopped
        }
        return lines
    }

    @Test("Both releases share a queue during sequence rollovers, and take each message once")
    func sharedQueue() async throws {
        let new = Tool(address: try await TestServer.address())
        let old = Tool(address: new.address, path: PreviousRelease.path)
        try await ZooKeeperClient.withClient(configuration: .init(servers: new.address)) { client in
            let queue = try MessageQueue(client).creating(with: .init(sequenceRolloverThreshold: 150))
            try await queue.prepare()
            let recovering = Task {
                try await QueueRecovery(queue, configuration: .init(interval: .milliseconds(20))).run()
            }
            var taken: [String] = []
            _ = try await old.started("recover", "--every", "0.1") { _, _ in
                let sending = Task { try await sendDuringRollovers(old, new, client) }
                async let oldTake = take(old, until: sending, isEmpty: queue)
                async let newTake = take(new, until: sending, isEmpty: queue)
                for lines in [try await oldTake, try await newTake] {
                    #expect(lines.count > 100)
                    taken += lines
                }
            }
            recovering.cancel()
            try await recovering.value
            #expect(taken.sorted() == (1...5).flatMap { lines("old", $0) + lines("new", $0) }.sorted())
            #expect(try await queue.statistics().ready == 0)
        }
    }

    /// A line of the old release's `take --format json`.
    private struct Delivery: Decodable {
        let payload: String
        let headers: [String: String]
        let deliveryCount: Int
    }

    @Test("Only the new recovery makes delayed messages ready, and the old release receives them intact")
    func delayedMessages() async throws {
        let new = Tool(address: try await TestServer.address())
        let old = Tool(address: new.address, path: PreviousRelease.path)
        try await ZooKeeperClient.withClient(configuration: .init(servers: new.address)) { client in
            let queue = try MessageQueue(client)
            try await queue.createIfNeeded(.init(sequenceRolloverThreshold: 2))
            #expect(try await old("put", "--header", "a=b", "failed").isSuccess)
            try await queue.drain { try await $0.requeue(after: .seconds(2), reason: "busy") }
            #expect(try await new("put", "--delay", "2s", "sent").isSuccess)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: [
                OutgoingMessage("valid", expiresAfter: .seconds(3_600)),
                OutgoingMessage("expired", expiresAfter: .milliseconds(1)),
                OutgoingMessage("both", delay: .seconds(4), expiresAfter: .seconds(3_600)),
            ])
            await producer.close()
            let delayed = try await queue.delayedMessages()
            try #require(delayed.map(\.payload) == ["failed", "sent", "both"].map { Array($0.utf8) })
            #expect(delayed[0].failures.map(\.reason) == ["busy"])

            // The time for which the messages wait. No event announces its end, because no recovery makes them ready.
            let wait = try await queue.readClock().duration(to: delayed[1].dueAt)
            try await Task.sleep(for: wait)
            #expect(try await old("recover", "--once").isSuccess)
            // The old release ignores an expiry.
            #expect(try await old("take", "--wait", "0").output == "valid\nexpired\n")
            #expect(try await queue.delayedMessages() == delayed)

            // The same pass rolls the sequence numbers over, so the requeued message becomes ready in `earlier`.
            let report = try await QueueRecovery(queue).recover()
            #expect(report.madeReady >= 2 && report.sequenceRollovers == 1)
            let recovering = Task { try await QueueRecovery(queue).run() }
            var deliveries: [Delivery] = []
            _ = try await old.started("recover", "--every", "0.1") { _, _ in
                _ = try await old.started("take", "--count", "3", "--format", "json") { _, lines in
                    for try await line in lines {
                        let delivery = try JSONDecoder().decode(Delivery.self, from: Data(line.utf8))
                        let due = delayed.first { $0.payload == Array(delivery.payload.utf8) }?.dueAt
                        // The server has this machine's clock.
                        #expect(EnsembleTime.ofThisMachine >= (try #require(due)), "\(line)")
                        deliveries.append(delivery)
                    }
                }
            }
            recovering.cancel()
            try await recovering.value
            #expect(deliveries.map(\.payload) == ["failed", "sent", "both"])
            #expect(deliveries.map(\.deliveryCount) == [2, 1, 1])
            #expect(deliveries.map(\.headers) == [["a": "b"], [:], [:]])
            let left = try await queue.statistics()
            #expect(left.isEmpty && left.delayed == 0 && left.deadLettered == 0)
        }
    }

    @Test("The old recovery keeps a message's expiry and failures, and the old purge leaves delayed messages alone")
    func unknownFields() async throws {
        let address = try await TestServer.address()
        let old = Tool(address: address, path: PreviousRelease.path)
        try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { client in
            let queue = try MessageQueue(client)
            try await queue.createIfNeeded()
            let producer = QueueProducer(queue)
            let expiry = try await queue.readClock().advanced(by: .seconds(3_600))
            try await producer.send(contentsOf: [
                OutgoingMessage("failed", expiresAt: expiry), OutgoingMessage("later", delay: .seconds(3_600)),
            ])
            try await queue.withConsumer { consumer in
                var messages = consumer.makeAsyncIterator()
                try await #require(try await messages.next()).requeue(reason: "busy")
            }
            // A consumer whose session ends while it holds the message.
            try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { crashing in
                var messages = QueueConsumer(try MessageQueue(crashing)).makeAsyncIterator()
                let message = try #require(try await messages.next())
                await crashing.close()
                _ = message
            }
            let recovery = try await old("recover", "--once")
            #expect(recovery.output.hasPrefix("recovered 1, redelivered 1, dead-lettered 0,"), "\(recovery)")
            let payloads = try await queue.drain { message in
                #expect(message.deliveryCount == 3 && message.expiresAt == expiry)
                #expect(message.failures.map(\.reason) == ["busy"])
                try await message.acknowledge()
            }
            #expect(payloads == ["failed"])

            try await producer.send("purged")
            await producer.close()
            #expect(try await old("purge", "--yes").output == "1\n")
            #expect(try await queue.delayedMessages().map(\.payload) == [Array("later".utf8)])
            #expect(try await queue.drain().isEmpty)
        }
    }

    @Test("Both releases refuse a queue of a later format")
    func laterFormat() async throws {
        let new = Tool(address: try await TestServer.address())
        let old = Tool(address: new.address, path: PreviousRelease.path)
        #expect(try await new("put", "a").isSuccess)
        try await ZooKeeperClient.withClient(configuration: .init(servers: new.address)) {
            _ = try await $0.set("/queue/epoch", data: Array("0 open \(SequenceEpoch.format + 1)".utf8))
        }
        for tool in [old, new] {
            for result in [
                try await tool("put", "b"), try await tool("take", "--wait", "0"), try await tool("recover", "--once"),
                try await tool("purge", "--yes"),
            ] {
                #expect(!result.isSuccess && result.output.isEmpty)
                #expect(result.error.contains("newer"), "\(result.error)")
            }
        }
    }
}
