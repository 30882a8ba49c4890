import Simulation
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Order and fairness by key.
@Suite(.timeLimit(.minutes(2)))
struct GroupTests {
    private static func send(_ messages: [OutgoingMessage], to queue: MessageQueue) async throws {
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: messages)
        await producer.close()
    }

    /// Receives messages until none comes, and calls `body` with each.
    private static func receive(
        from queue: MessageQueue, prefetch: Int = 10, _ body: (QueueMessage) async throws -> Void
    ) async throws {
        let consumer = QueueConsumer(queue, configuration: .init(prefetch: prefetch))
        var messages = consumer.makeAsyncIterator()
        while let message = try await messages.next(within: .seconds(1)) { try await body(message) }
        await consumer.close()
    }

    private static func text(_ message: QueueMessage) -> String { String(decoding: message.payload, as: UTF8.self) }

    @Test("The messages of a group come one after the other, and groups take turns")
    func turns() async throws {
        try await withTestQueue { _, queue in
            try await Self.send(
                ["a1", "a2", "a3", "b1", "b2", "c1"].map { .init($0, group: String($0.prefix(1))) }, to: queue)
            let statistics = try await queue.statistics()
            #expect(statistics.ready == 3 && statistics.groups == 3)
            var received: [String] = []
            try await Self.receive(from: queue) { message in
                #expect(message.group == String(Self.text(message).prefix(1)))
                received.append(Self.text(message))
                try await message.acknowledge()
            }
            #expect(received == ["a1", "b1", "c1", "a2", "b2", "a3"])
            #expect(try await queue.statistics().groups == 0)
            try await queue.store.delete("/queue/groups", version: nil)
            try await queue.expectEmptyTree()
        }
    }

    @Test("While a message of a group is leased, no other consumer gets the next one")
    func oneAtATime() async throws {
        try await withTestQueue { _, queue in
            try await Self.send([.init("1", group: "g"), .init("2", group: "g")], to: queue)
            let first = QueueConsumer(queue)
            var messages = first.makeAsyncIterator()
            let message = try #require(try await messages.next(within: .seconds(5)))
            #expect(Self.text(message) == "1")
            #expect(try await queue.drain() == [])
            try await message.requeue()
            #expect(Self.text(try #require(try await messages.next(within: .seconds(5)))) == "1")
            await first.close()
            #expect(try await queue.drain() == ["1", "2"])
        }
    }

    @Test("A message that returns late, after a failed delivery or a crash, keeps its place in the group")
    func lateReturn() throws {
        try simulateQueue(.init(retry: .exponential(initial: .seconds(10)))) { simulation, queue in
            try await Self.send((1...3).map { .init("\($0)", group: "g") }, to: queue)
            try await Self.receive(from: queue) { try await $0.requeue(after: .seconds(10), reason: "tried") }
            let crashing = simulation.zookeeper.connect("crashing")
            let recovery = QueueRecovery(queue)
            try await simulation.clock.sleep(for: .seconds(11))
            try await recovery.recover()
            var messages = QueueConsumer(try MessageQueue(store: crashing)).makeAsyncIterator()
            #expect(try await messages.next(within: .seconds(1)).map(Self.text) == "1")
            crashing.crash()
            var received: [String] = []
            for _ in 0..<10 where received.count < 3 {
                try await simulation.clock.sleep(for: .seconds(20))
                try await recovery.recover()
                received += try await queue.drain()
            }
            #expect(received == ["1", "2", "3"])
        }
    }

    @Test("A dead letter lets its group go on", arguments: [false, true])
    func deadLetter(byRecovery: Bool) throws {
        try simulateQueue(.init(maximumDeliveries: 1)) { simulation, queue in
            try await Self.send((1...3).map { .init("\($0)", group: "g") }, to: queue)
            if byRecovery {
                let crashing = simulation.zookeeper.connect("crashing")
                var messages = QueueConsumer(try MessageQueue(store: crashing)).makeAsyncIterator()
                #expect(try await messages.next(within: .seconds(1)).map(Self.text) == "1")
                crashing.crash()
                try await simulation.clock.sleep(for: .seconds(30))
                try await QueueRecovery(queue).recover()
            } else {
                var messages = QueueConsumer(queue).makeAsyncIterator()
                try await messages.next(within: .seconds(1))?.requeue(reason: "tried")
            }
            let letters = try await queue.deadLetters()
            #expect(letters.map(\.payload) == [Array("1".utf8)] && letters[0].group == "g")
            try await Self.send([.init("4", group: "g")], to: queue)
            // It returns as the last message of its group.
            try await queue.redrive(letters[0].nodeName)
            #expect(try await queue.drain() == ["2", "3", "4", "1"])
            #expect(try await queue.statistics().groups == 0)
        }
    }

    @Test(
        "A dead letter blocks its group, if the queue says so, until it is redriven, cancelled or purged",
        arguments: 0..<3)
    func blocking(end: Int) throws {
        try simulateQueue(.init(deadLetterBlocksGroup: true)) { simulation, queue in
            try await Self.send((1...2).map { .init("\($0)", group: "g") } + [.init("other", group: "h")], to: queue)
            try await Self.receive(from: queue) { message in
                if message.group == "g" {
                    try await message.deadLetter(reason: "tried")
                } else {
                    try await message.acknowledge()
                }
            }
            #expect(try await queue.statistics().groups == 1)
            try await Self.send([.init("3", group: "g")], to: queue)
            #expect(try await queue.drain() == [])
            let letter = try #require(try await queue.deadLetters().first)
            switch end {
            case 0: try await queue.redrive(letter.nodeName)
            case 1: try await queue.cancelMessage(nodeName: letter.nodeName)
            default: #expect(try await queue.purgeDeadLetters() == 1)
            }
            #expect(try await queue.drain() == (end == 0 ? ["1", "2", "3"] : ["2", "3"]))
            #expect(try await queue.statistics().groups == 0)
        }
    }

    @Test("A retry lets its group go on, if the queue says so", arguments: [false, true])
    func retryOutsideGroup(byRecovery: Bool) throws {
        let retry = RetryPolicy.exponential(initial: .seconds(10), jitter: 0)
        try simulateQueue(.init(retry: retry, retryBlocksGroup: false)) { simulation, queue in
            try await Self.send((1...3).map { .init("\($0)", group: "g") }, to: queue)
            let recovery = QueueRecovery(queue)
            if byRecovery {
                // The second crash delays the message.
                for number in 1...2 {
                    let crashing = simulation.zookeeper.connect("crashing \(number)")
                    var messages = QueueConsumer(try MessageQueue(store: crashing)).makeAsyncIterator()
                    #expect(try await messages.next(within: .seconds(1)).map(Self.text) == "1")
                    crashing.crash()
                    try await simulation.clock.sleep(for: .seconds(12))
                    try await recovery.recover()
                }
            } else {
                var messages = QueueConsumer(queue).makeAsyncIterator()
                try await messages.next(within: .seconds(1))?.requeue(after: .seconds(10), reason: "tried")
            }
            let delayed = try #require(try await queue.delayedMessages().first)
            #expect(delayed.group == "g" && delayed.payload == Array("1".utf8))
            #expect(try await queue.drain() == ["2", "3"])
            #expect(try await queue.statistics().groups == 0)
            try await simulation.clock.sleep(for: .seconds(60))
            try await recovery.recover()
            try await Self.receive(from: queue) { message in
                #expect(
                    Self.text(message) == "1" && message.group == "g" && message.deliveryCount == (byRecovery ? 3 : 2))
                try await message.acknowledge()
            }
        }
    }

    @Test("A message that waits in its group can be looked up and cancelled, and a cancelled head lets the group go on")
    func cancel() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            let receipts = try await producer.send(
                contentsOf: (1...4).map { .init("\($0)", id: "\($0)", group: "g/ü") })
            await producer.close()
            let names = receipts.compactMap(\.nodeName)
            #expect(names[1] == "g%2F%C3%BC/item-100-0000000000")
            #expect(try await queue.message(nodeName: names[0])?.place == .ready)
            let waiting = try #require(try await queue.message(nodeName: names[1]))
            #expect(waiting.place == .waiting && waiting.nodeName == names[1] && waiting.group == "g/ü")
            guard case .found(waiting) = try await queue.message(id: "2") else {
                throw QueueError(.failed, "not found")
            }
            await expect(.invalidArgument) { try await queue.cancelMessage(nodeName: names[1]) }
            try await queue.cancelMessage(id: "2")
            try await queue.cancelMessage(id: "1")
            #expect(try await queue.drain() == ["3", "4"])
            #expect(try await queue.statistics().groups == 0)
        }
    }

    @Test("A purge removes groups too, and leaves leased messages and their groups")
    func purge() async throws {
        try await withTestQueue { _, queue in
            try await Self.send(
                (1...3).map { .init("a\($0)", group: "a") } + (1...3).map { .init("b\($0)", group: "b") } + [
                    .init("x")
                ],
                to: queue)
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next(within: .seconds(5)))
            #expect(try await queue.purge() == 6)
            #expect(try await queue.statistics().groups == 1)
            try await message.acknowledge()
            await consumer.close()
            #expect(try await queue.statistics().groups == 0)
            try await Self.send([.init("b4", group: "b")], to: queue)
            #expect(try await queue.drain() == ["b4"])
        }
    }

    @Test("An acknowledgement sends to its own group and to others, and the order holds")
    func acknowledgeSending() async throws {
        try await withTestQueue { _, queue in
            for waiting in [[], ["2"]] {
                try await Self.send((["1"] + waiting).map { .init($0, group: "g") }, to: queue)
                var received: [String] = []
                try await Self.receive(from: queue) { message in
                    received.append(Self.text(message))
                    guard received.count == 1 else { return try await message.acknowledge() }
                    try await message.acknowledge(
                        sending: [.init("3", group: "g"), .init("4", group: "g"), .init("other", group: "h")], to: queue
                    )
                }
                #expect(received.filter { $0 != "other" } == ["1"] + waiting + ["3", "4"])
                #expect(received.contains("other"))
                #expect(try await queue.statistics().groups == 0)
            }
        }
    }

    @Test("Many producers and consumers keep the order of each group")
    func concurrent() async throws {
        try await withTestQueue { client, queue in
            let (keys, count) = (20, 25)
            let received = Received()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for key in 0..<keys {
                    group.addTask {
                        let producer = QueueProducer(queue)
                        for number in 0..<count {
                            try await producer.send(.init("\(key) \(number)", group: "key \(key)"))
                        }
                        await producer.close()
                    }
                }
                for _ in 0..<4 {
                    group.addTask {
                        let consumer = QueueConsumer(queue, configuration: .init(prefetch: 5))
                        var messages = consumer.makeAsyncIterator()
                        while let message = try await messages.next(within: .seconds(1)) {
                            let words = Self.text(message).split(separator: " ").map(String.init)
                            received.add(Int(words[1]) ?? -1, of: words[0])
                            try await message.acknowledge()
                        }
                        await consumer.close()
                    }
                }
                try await group.waitForAll()
            }
            let all = received.all
            #expect(all.count == keys)
            for numbers in all.values { #expect(numbers == Array(0..<count)) }
            #expect(try await queue.statistics().groups == 0)
        }
    }

    @Test("A long group is not listed again for each message")
    func longGroup() throws {
        try simulateQueue { simulation, queue in
            try await Self.send((0..<300).map { .init("\($0)", group: "g") }, to: queue)
            let listings = Received()
            let store = simulation.zookeeper.connect(
                "consumer",
                faults: { call in
                    if call.request == "children", call.path == "/queue/groups/g" { listings.add(call.number, of: "g") }
                    return nil
                })
            #expect(try await MessageQueue(store: store).drain() == (0..<300).map { "\($0)" })
            // The last fifty are not worth remembering.
            #expect(listings.all["g"]?.count ?? 0 < 60)
            store.close()
        }
    }

    @Test("Keys and sizes are checked before anything is sent")
    func validation() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            for key in ["", String(repeating: "x", count: 256)] {
                await expect(.invalidArgument) { try await producer.send(.init("x", group: key)) }
            }
            await expect(.invalidArgument) { try await producer.send(.init("x", delay: .seconds(1), group: "g")) }
            let large = [UInt8](repeating: 1, count: producer.maximumPayloadSize / 2)
            await expect(.payloadTooLarge) { try await producer.send(.init(large, group: "g")) }
            let longest = [UInt8](repeating: 1, count: producer.maximumPayloadSize / 2 - 8_192)
            for _ in 0..<2 { try await producer.send(.init(longest, group: String(repeating: "ü", count: 127))) }
            await producer.close()
            try await Self.receive(from: queue) {
                try await $0.deadLetter(reason: String(repeating: "r", count: 5_000))
            }
            #expect(try await queue.deadLetters().map(\.payload) == [longest, longest])
        }
    }

    @Test("An unusable node does not keep its group from ending")
    func oddFollower() async throws {
        try await withTestQueue { client, queue in
            try await Self.send([.init("1", group: "g"), .init("2", group: "g")], to: queue)
            try await client.create("/queue/groups/g/odd")
            #expect(try await queue.drain() == ["1", "2"])
            #expect(try await client.get("/queue/groups/g").data == Array("idle".utf8))
            try await Self.send([.init("3", group: "g"), .init("4", group: "g")], to: queue)
            #expect(try await queue.drain() == ["3", "4"])
        }
    }
}
/// The numbers of each group, in the order in which they were received.
private final class Received: Sendable {
    private let numbers = Mutex<[String: [Int]]>([:])
    var all: [String: [Int]] { numbers.withLock { $0 } }
    func add(_ number: Int, of key: String) { numbers.withLock { $0[key, default: []].append(number) } }
}
