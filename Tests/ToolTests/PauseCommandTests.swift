import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

/// Tests the commands that pause, resume and drain a queue, and that release a lease.
@Suite(.timeLimit(.minutes(2)))
struct PauseCommandTests {
    @Test("zkq pause and resume print what is paused, and other commands say so")
    func pauseAndResume() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        #expect(try await zkq("pause", "--send").output == "Sending is paused.\n")
        let notes = try await zkq("doctor", "--for", "0.1").lines
        #expect(notes.contains { $0.hasPrefix("note: sending is paused.") }, "\(notes)")
        for _ in 0..<2 { #expect(try await zkq("pause").output == "Sending and consuming are paused.\n") }
        #expect(try await zkq("stats").lines.contains("paused     consume, send"))
        #expect(try await zkq("stats", "--json").output.contains(#""paused":["consume","send"]"#))
        let put = try await zkq("put", "b")
        #expect(!put.isSuccess && put.error.contains("sending to the queue /queue is paused"), "\(put.error)")
        let take = try await zkq("take", "--wait", "0")
        #expect(!take.isSuccess && take.output.isEmpty)
        #expect(take.error.contains("1 ready, but consuming is paused"), "\(take.error)")
        let warnings = try await zkq("doctor", "--for", "0.1").lines
        #expect(
            warnings.contains { $0.hasPrefix("warning: consuming is paused, but messages are ready: 1.") },
            "\(warnings)")

        #expect(try await zkq("resume", "--consume").output == "Sending is paused.\n")
        #expect(try await zkq("take", "--wait", "0").output == "a\n")
        #expect(try await zkq("resume").output == "Nothing is paused.\n")
        #expect(try await zkq("put", "b").isSuccess)
    }

    @Test("zkq drain waits until the queue is empty, and leaves sending paused")
    func drain() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        #expect(try await zkq("put", "--delay", "1h", "later").isSuccess)
        let late = try await zkq("drain", "--timeout", "0")
        #expect(!late.isSuccess && late.output.isEmpty)
        #expect(
            late.error.contains("1 ready, 0 leased, 0 recovering, 1 delayed. Sending stays paused."), "\(late.error)")
        #expect(try await !zkq("put", "b").isSuccess)
        #expect(try await zkq("pause", "--consume").isSuccess)
        let stuck = try await zkq("drain")
        #expect(!stuck.isSuccess && stuck.error.contains("Consuming is paused, so the queue"), "\(stuck.error)")
        #expect(try await zkq("resume", "--consume").isSuccess)

        async let drained = zkq("drain", "--except-delayed")
        #expect(try await zkq("take", "--count", "1").output == "a\n")
        let result = try await drained
        let end = "Sending stays paused; run \"zkq resume\" to continue.\n"
        #expect(result.output == "The queue is empty, except for delayed messages (1). " + end)
        #expect(result.isSuccess && result.error.isEmpty, "\(result.error)")
        #expect(try await zkq("delayed", "run-now", "--all").isSuccess)
        #expect(try await zkq("take", "--wait", "0").output == "later\n")
        #expect(try await zkq("drain", "--timeout", "0").output == "The queue is empty. " + end)
    }

    @Test("zkq release takes a lease from its consumer, and a recovery redelivers the message")
    func release() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        try await ZooKeeperClient.withClient(configuration: .init(servers: zkq.address)) { client in
            try await MessageQueue(client).withConsumer { messages in
                var messages = messages.makeAsyncIterator()
                let message = try #require(try await messages.next())
                let released = try await zkq("release", message.nodeName)
                #expect(released.isSuccess && released.lines.count == 1, "\(released.error)")
                #expect(try await !zkq("release", message.nodeName).isSuccess)
                await #expect(throws: QueueError.self) { try await message.acknowledge() }
                #expect(try await zkq("recover", "--once").isSuccess)
                let again = try #require(try await messages.next())
                #expect(again.payload == message.payload && again.deliveryCount == 2)
                try await again.acknowledge()
            }
        }
    }
}
