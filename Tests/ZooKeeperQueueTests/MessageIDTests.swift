import Testing
import TestSupport
import ZooKeeper

@testable import ZooKeeperQueue

/// Messages with ids, on a real server.
@Suite(.timeLimit(.minutes(1)))
struct MessageIDTests {
    private func messages(_ ids: String...) -> [OutgoingMessage] { ids.map { OutgoingMessage("of \($0)", id: $0) } }

    @Test("A message with an id is stored once, whichever producer sends it", arguments: [1, 4])
    func storedOnce(batchSize: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batchSize)) { client, queue in
            let producer = QueueProducer(queue)
            #expect(
                try await producer.send(contentsOf: messages("a", "b", "a", "ü/.%")).map(\.isDuplicate) == [
                    false, false, true, false,
                ])
            try await withAnotherClient(like: client) { other in
                let another = QueueProducer(try MessageQueue(other))
                let receipts = try await another.send(
                    contentsOf:
                        messages("b", "c") + [OutgoingMessage("without")] + messages("ü/.%", "d"))
                #expect(receipts.map(\.isDuplicate) == [true, false, false, true, false])
                #expect(receipts.map { $0.nodeName == nil } == [true, false, false, true, false])
                await another.close()
            }
            var ids: [String?] = []
            let received = try await queue.drain {
                ids.append($0.id)
                try await $0.acknowledge()
            }
            #expect(received == ["of a", "of b", "of ü/.%", "of c", "without", "of d"])
            #expect(ids == ["a", "b", "ü/.%", "c", nil, "d"])
            // The message was acknowledged, and its id still counts.
            #expect(try await producer.send(OutgoingMessage("again", id: "a")).isDuplicate)
            await producer.close()
        }
    }

    @Test("Concurrent sends of the same ids store each message once")
    func concurrentSends() async throws {
        try await withTestQueue { client, queue in
            try await withAnotherClient(like: client) { other in
                let producers = [QueueProducer(queue), QueueProducer(try MessageQueue(other))]
                let stored = try await withThrowingTaskGroup(of: Int.self) { group in
                    for task in 0..<16 {
                        group.addTask {
                            var stored = 0
                            for number in 0..<100 {
                                let message = OutgoingMessage("\(number)", id: "\(number)")
                                if try await !producers[task % 2].send(message).isDuplicate { stored += 1 }
                            }
                            return stored
                        }
                    }
                    return try await group.reduce(0, +)
                }
                for producer in producers { await producer.close() }
                #expect(stored == 100)
                #expect(try await queue.drain().sorted() == (0..<100).map { "\($0)" }.sorted())
            }
        }
    }

    @Test("An id expires after the deduplication window, and not before")
    func expiry() async throws {
        try await withTestQueue(attributes: .init(deduplicationWindow: .milliseconds(1))) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: messages("a", "b"))
            // The first pass sees the bucket, and the second pass starts another. The ids in the first bucket still
            // count.
            let recovery = QueueRecovery(queue)
            for _ in 0..<2 { #expect(try await recovery.recover().deduplicationIDsExpired == 0) }
            #expect(
                try await producer.send(contentsOf: messages("a", "c", "b")).map(\.isDuplicate) == [true, false, true])
            // The next passes start a third bucket and remove the first one.
            var expired = 0
            for _ in 0..<4 { expired += try await recovery.recover().deduplicationIDsExpired }
            #expect(expired >= 2)
            #expect(try await producer.send(OutgoingMessage("again", id: "a")).isDuplicate == false)
            // The current bucket, the previous one, and one that the next pass removes.
            #expect(try await client.children(of: "/queue/ids").names.count <= 3)
            await producer.close()
        }
    }

    @Test("Many duplicates cost few transactions")
    func manyDuplicates() async throws {
        try await withTestQueue { client, queue in
            let all = (0..<3_000).map { OutgoingMessage("\($0)", id: "\($0)") }
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: all)
            let before = try await client.exists("/queue/ids")?.czxid ?? 0
            #expect(
                try await producer.send(contentsOf: all + [OutgoingMessage("new", id: "new")]).count(
                    where: \.isDuplicate) == 3_000)
            let after = try await client.create("/after").stat.czxid
            // A refused batch is a transaction too.
            #expect(after - before < 100, "\(after - before) transactions")
            await producer.close()
            #expect(try await queue.statistics().ready == 3_001)
        }
    }

    @Test("A missing bucket is created again")
    func missingBucket() async throws {
        try await withTestQueue(attributes: .init(deduplicationWindow: .milliseconds(1))) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: messages("a"))
            let recovery = QueueRecovery(queue)
            for _ in 0..<2 { try await recovery.recover() }
            try await client.delete("/queue/ids/0/a")
            try await client.delete("/queue/ids/0")
            #expect(try await producer.send(contentsOf: messages("b")).first?.isDuplicate == false)
            await producer.close()
        }
    }

    @Test("The stored deduplication window applies, and not a process's own")
    func storedWindow() async throws {
        try await withTestQueue(attributes: .init(deduplicationWindow: .seconds(3_600))) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: messages("a"))
            // Another process has another window, which applies only when that process creates the queue.
            let other = try MessageQueue(client).creating(with: .init(deduplicationWindow: .milliseconds(1)))
            let recovery = QueueRecovery(other)
            for _ in 0..<4 { try await recovery.recover() }
            #expect(try await producer.send(contentsOf: messages("a")).first?.isDuplicate == true)
            try await other.update { $0.deduplicationWindow = .milliseconds(1) }
            for _ in 0..<6 { try await recovery.recover() }
            #expect(try await producer.send(contentsOf: messages("a")).first?.isDuplicate == false)
            await producer.close()
        }
    }

    @Test("An invalid id is rejected before anything is sent")
    func invalidID() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            for id in ["", String(repeating: "x", count: 256), String(repeating: "ü", count: 128)] {
                await expect(.invalidArgument) { try await producer.send(OutgoingMessage("x", id: id)) }
            }
            let root = try await client.exists("/queue")
            #expect(root == nil)
            let longest = OutgoingMessage("x", id: String(repeating: "/", count: 255))
            #expect(try await producer.send(longest).isDuplicate == false)
            // The id counts towards the size of the request.
            let budget = producer.maximumPayloadSize
            await expect(.payloadTooLarge) {
                let payload = [UInt8](repeating: 1, count: budget - 500)
                try await producer.send(OutgoingMessage(payload, id: String(repeating: "/", count: 255)))
            }
            await producer.close()
        }
    }
}
