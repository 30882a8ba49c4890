import Simulation
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Delays, retries and expiry where folders are missing, nodes are odd, or replies are lost.
@Suite(.timeLimit(.minutes(2)))
struct DelayFaultTests {
    private static func send(_ messages: [OutgoingMessage], to queue: MessageQueue) async throws {
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: messages)
        await producer.close()
    }

    @Test("The last failed delivery becomes a dead letter also when its folder was removed and a delay was requested")
    func removedDeadFolder() throws {
        try simulateQueue(.init(maximumDeliveries: 1)) { _, queue in
            try await Self.send([.init("x")], to: queue)
            let payloads = try await queue.drain { message in
                try await queue.store.delete("/queue/dead", version: nil)
                try await message.requeue(after: .seconds(10), reason: "tried")
            }
            #expect(payloads == ["x"])
            #expect(try await queue.deadLetters().map(\.payload) == [Array("x".utf8)])
        }
    }

    @Test("Delayed messages become ready although a foreign node blocks the lock of the recovery")
    func oddLock() throws {
        try simulateQueue { simulation, queue in
            for path in ["/queue/delayed-lock", "/queue/delayed-lock/child"] {
                _ = try await queue.store.create(path, data: Array("odd".utf8), mode: .persistent)
            }
            try await Self.send([.init("a", delay: .seconds(5)), .init("b", delay: .seconds(60))], to: queue)
            let start = simulation.clock.now.offset
            let recovery = Task { try await QueueRecovery(queue).run() }
            for text in ["a", "b"] {
                while try await queue.drain() != [text] { try await simulation.clock.sleep(for: .seconds(1)) }
            }
            // The recovery waits for the lock once.
            #expect(simulation.clock.now.offset - start < .seconds(63))
            recovery.cancel()
            _ = try? await recovery.value
        }
    }

    @Test(
        "A cancellation succeeds whichever reply is lost, and is not reported for a message that became ready",
        arguments: [false, true])
    func cancellation(isOvertaken: Bool) throws {
        for fault in Fault.allCases where fault != .staleRead {
            for call in 1...6 {
                try simulateQueue { simulation, queue in
                    try await Self.send([.init("x", delay: .seconds(60))], to: queue)
                    let name = try #require(try await queue.delayedMessages().first).nodeName
                    let calls = Mutex(0)
                    let (faults, report) = AsyncStream.makeStream(of: Void.self)
                    let store = simulation.zookeeper.connect(
                        "administrator", requestTimeout: .seconds(5),
                        faults: { _ in
                            let number = calls.withLock { count in
                                count += 1
                                return count
                            }
                            guard number == call else { return nil }
                            report.yield()
                            return fault
                        })
                    let cancelling = Task {
                        defer { report.finish() }
                        try await MessageQueue(store: store).cancelDelayed(name)
                    }
                    if isOvertaken {
                        for await _ in faults { break }
                        try? await queue.deliverNow(name)
                    }
                    let result = await cancelling.result
                    let delivered = try await queue.drain()
                    let isGone = try await queue.statistics().delayed == 0 && delivered.isEmpty
                    var code: QueueError.Code?
                    if case .failure(let error as QueueError) = result { code = error.code }
                    switch result {
                    case .success: #expect(isGone, "\(fault) at call \(call): reported as cancelled")
                    case .failure where isGone: #expect(code == .outcomeUnknown, "\(fault) at call \(call): \(result)")
                    case .failure: break
                    }
                    store.crash()
                    // The end of the session removes what an unknown outcome may leave.
                    if code == .outcomeUnknown { try await simulation.clock.sleep(for: .seconds(60)) }
                    let left = try await queue.store.children(of: "/queue").names.filter { $0.hasPrefix("probe-") }
                    #expect(left == [], "\(fault) at call \(call)")
                }
            }
        }
    }

    @Test("A message is requeued with its delay also in a task that was cancelled")
    func cancelledTask() throws {
        try simulateQueue { simulation, queue in
            try await Self.send([.init("x")], to: queue)
            let consumer = QueueConsumer(queue)
            let message = try #require(try await consumer.first { _ in true })
            // The last reading of the clock is too old by then.
            try await simulation.clock.sleep(for: .seconds(30))
            let settling = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await message.requeue(after: .seconds(600), reason: "stopped")
            }
            try await settling.value
            #expect(try await queue.delayedMessages().map { $0.failures.map(\.reason) } == [["stopped"]])
            await consumer.close()
        }
    }

    @Test("Expired messages that cannot be settled keep a consumer from no other message")
    func refusedExpiry() throws {
        try simulateQueue { simulation, queue in
            let expiring = (0..<4).map { OutgoingMessage("\($0)", expiresAfter: .seconds(1)) }
            try await Self.send(expiring + [.init("good"), .init("better")], to: queue)
            try await queue.store.delete("/queue/dead", version: nil)
            _ = try await queue.store.multi([.create("/queue/dead", data: [], acl: OddNode.others)])
            try await simulation.clock.sleep(for: .seconds(2))
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 2))
            var messages = consumer.makeAsyncIterator()
            for expected in ["good", "better"] {
                let message = try #require(try await messages.next(within: .seconds(60)))
                #expect(message.payload == Array(expected.utf8))
                try await message.acknowledge()
            }
            await consumer.close()
            #expect(try await queue.statistics().ready == 4)
            #expect(queue.skippedNodes().count == 4)
        }
    }

    @Test("A failed message keeps the fields of a later release")
    func unknownFields() throws {
        try simulateQueue { _, queue in
            // A field with tag 200, which this release does not know.
            let data: [UInt8] = Envelope.magic + [1, 1, 0, 0, 0, 7, 200, 0, 0, 0, 2, 7, 8] + Array("x".utf8)
            try await queue.prepare()
            _ = try await queue.store.create("/queue/items/item-100-", data: data, mode: .persistentSequential)
            _ = try await queue.drain { message in
                if message.deliveryCount == 1 { return try await message.requeue(reason: "tried") }
                try await message.deadLetter(reason: "done")
            }
            let letters = try await queue.store.children(of: "/queue/dead").names
            let stored = try await queue.store.get("/queue/dead/\(try #require(letters.first))").data ?? []
            #expect(stored.firstRange(of: [200, 0, 0, 0, 2, 7, 8]) != nil, "\(stored)")
            #expect(try await queue.deadLetters().map(\.failures.count) == [1])
        }
    }

    @Test("A limit below one lists nothing")
    func limits() throws {
        try simulateQueue { _, queue in
            try await Self.send([.init("x", delay: .seconds(60))], to: queue)
            for limit in [0, -1, .min] { #expect(try await queue.delayedMessages(limit: limit) == []) }
        }
    }
}
