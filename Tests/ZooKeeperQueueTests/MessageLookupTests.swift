import Simulation
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// One message that is found, deleted or moved to another priority, wherever it is.
@Suite(.timeLimit(.minutes(2)))
struct MessageLookupTests {
    private static func payload(_ lookup: MessageLookup) -> String? {
        guard case .found(let status) = lookup else { return nil }
        return String(decoding: status.payload, as: UTF8.self)
    }

    /// Claims a message, and passes it to `body`.
    private static func withMessage(
        of queue: MessageQueue, _ body: (QueueMessage) async throws -> Void
    ) async throws {
        let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
        var messages = consumer.makeAsyncIterator()
        try await body(try #require(try await messages.next(within: .seconds(5))))
        await consumer.close()
    }

    @Test("A message is found by its name and by its ID in each place", arguments: [1, 3])
    func places(batch: Int) throws {
        try simulateQueue(.init(maximumDeliveries: 2, maximumBatchSize: batch)) { simulation, queue in
            let producer = QueueProducer(queue)
            let receipts = try await producer.send(contentsOf: [.init("a", id: "x"), .init("b", id: "y"), .init("c")])
            let later = try await producer.send(.init("later", id: "z", delay: .seconds(3_600)))
            await producer.close()
            let names = receipts.compactMap(\.nodeName)
            for (name, payload) in zip(names, ["a", "b", "c"]) {
                let status = try #require(try await queue.message(nodeName: name))
                #expect(status.place == .ready && status.nodeName == name && status.redeliveries == 0)
                #expect(String(decoding: status.payload, as: UTF8.self) == payload)
            }
            guard case .found(let delayed) = try await queue.message(id: "z"), case .delayed = delayed.place else {
                return #expect(Bool(false), "z is not delayed")
            }
            #expect(delayed.nodeName == later.nodeName)
            #expect(try await queue.message(nodeName: delayed.nodeName) == delayed)
            try await Self.withMessage(of: queue) { message in
                let status = try #require(try await queue.message(nodeName: names[0]))
                guard case .leased(let consumer, _) = status.place else { return #expect(Bool(false), "\(status)") }
                #expect(try await queue.consumers().map(\.name) == [consumer])
                try await message.requeue(after: .seconds(60))
                let retried = try #require(try await queue.message(nodeName: names[0]))
                guard case .delayed = retried.place else { return #expect(Bool(false), "\(retried)") }
                #expect(retried.redeliveries == 1)
            }
            try await simulation.clock.sleep(for: .seconds(61))
            try await QueueRecovery(queue).recover()
            try await Self.withMessage(of: queue) { try await $0.requeue(reason: "no") }
            guard case .found(let dead) = try await queue.message(id: "x"),
                case .deadLettered("delivered 2 times: no", _) = dead.place
            else { return #expect(Bool(false), "x is not dead") }
            try await Self.withMessage(of: queue) { message in
                try await message.acknowledge()
                // The others of the batch stay leased, or are ready.
                #expect(try await queue.message(nodeName: names[1]) == nil)
                #expect(Self.payload(try await queue.message(id: "y")) == nil)
            }
            #expect(try await queue.message(id: "y") == .finished)
            #expect(try await queue.message(id: "other") == .unknown)
            #expect(try await queue.message(nodeName: names[2])?.place == .ready)
        }
    }

    @Test("The message of a failed consumer is found")
    func recovering() throws {
        try simulateQueue(.init(redeliveryDelay: .seconds(60))) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(.init("a", id: "x"))
            await producer.close()
            let store = simulation.zookeeper.connect("failed")
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var messages = consumer.makeAsyncIterator()
            _ = try await messages.next()
            store.crash()
            try await simulation.clock.sleep(for: .seconds(60))
            try await QueueRecovery(queue).recover()
            guard case .found(let status) = try await queue.message(id: "x") else {
                return #expect(Bool(false), "not found")
            }
            #expect(status.place == .recovering)
            #expect(try await queue.cancelMessage(id: "x") == status)
            #expect(try await queue.message(id: "x") == .unknown)
        }
    }

    @Test("A cancelled message is gone, the others of its node stay in order, and its ID is free", arguments: [1, 3])
    func cancelReady(batch: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batch)) { client, queue in
            let producer = QueueProducer(queue)
            let receipts = try await producer.send(
                contentsOf: ["a", "b", "c", "d"].map { .init($0, id: $0) })
            let cancelled = try await queue.cancelMessage(id: "b")
            #expect(cancelled.place == .ready && cancelled.nodeName == receipts[1].nodeName)
            await expect(.notFound) { try await queue.cancelMessage(nodeName: cancelled.nodeName) }
            #expect(try await producer.send(.init("b again", id: "b")).isDuplicate == false)
            #expect(try await producer.send(.init("c again", id: "c")).isDuplicate)
            await producer.close()
            #expect(try await queue.drain() == ["a", "c", "d", "b again"])
        }
    }

    @Test("Cancelling a leased message ends its lease, and the handler is told at its settlement", arguments: [1, 3])
    func cancelLeased(batch: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batch)) { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: ["a", "b"].map { .init($0, id: $0) })
            await producer.close()
            try await Self.withMessage(of: queue) { message in
                guard case .leased = try await queue.cancelMessage(id: "a").place else {
                    return #expect(Bool(false), "not leased")
                }
                await expect(.leaseLost) { try await message.acknowledge() }
            }
            try await QueueRecovery(queue).recover()
            #expect(try await queue.drain() == ["b"])
            #expect(try await queue.message(id: "a") == .unknown)
        }
    }

    @Test("A handler whose message is cancelled is cancelled at the next renewal")
    func cancelsHandler() throws {
        try simulateQueue(.init(leaseTimeout: .seconds(30))) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(.init("a", id: "x"))
            await producer.close()
            try await Self.withMessage(of: queue) { message in
                let processing = Task {
                    try await message.process { _ in try await simulation.clock.sleep(for: .seconds(3_000)) }
                }
                try await simulation.clock.sleep(for: .seconds(1))
                try await queue.cancelMessage(id: "x")
                let start = simulation.clock.now.offset
                await expect(.leaseLost) { try await processing.value }
                #expect(simulation.clock.now.offset - start <= .seconds(11))
            }
            #expect(try await queue.drain().isEmpty)
        }
    }

    @Test("A consumer that works all the time notices that a message is cancelled")
    func cancelsHandlerOfABusyConsumer() throws {
        try simulateQueue(.init(leaseTimeout: .seconds(30))) { simulation, queue in
            let producer = QueueProducer(queue)
            try await producer.send(.init("a", id: "x"))
            try await producer.send(contentsOf: (0..<100).map { .init("\($0)") })
            await producer.close()
            let consumer = QueueConsumer(queue, configuration: .init(prefetch: 4))
            var messages = consumer.makeAsyncIterator()
            let first = try #require(try await messages.next())
            let processing = Task {
                try await first.process { _ in try await simulation.clock.sleep(for: .seconds(3_000)) }
            }
            try await queue.cancelMessage(id: "x")
            let start = simulation.clock.now.offset
            while first.leaseState == .held, simulation.clock.now.offset - start < .seconds(60) {
                try await messages.next()?.acknowledge()
                try await simulation.clock.sleep(for: .seconds(1))
            }
            #expect(simulation.clock.now.offset - start <= .seconds(12))
            await expect(.leaseLost) { try await processing.value }
            await consumer.close()
        }
    }

    @Test("Two messages with one name are not confused")
    func ambiguousName() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            let name = try #require(try await producer.send("new").nodeName)
            await producer.close()
            // As a message that a recovery has saved from a legacy client.
            try await client.create("/queue/partial/\(name)", data: Array("old".utf8))
            await expect(.invalidArgument) { try await queue.cancelMessage(nodeName: name) }
            try await client.delete("/queue/partial/\(name)")
            try await client.create("/queue/partial/\(name).1", data: Array("old".utf8))
            #expect(try await queue.cancelMessage(nodeName: name).payload == Array("new".utf8))
        }
    }

    @Test("Cancelling a message does not free the ID of a later one")
    func laterID() throws {
        try simulateQueue(.init(deduplicationWindow: .seconds(60))) { simulation, queue in
            let producer = QueueProducer(queue)
            let old = try #require(try await producer.send(.init("old", id: "x")).nodeName)
            let recovery = QueueRecovery(queue)
            for _ in 0..<6 {
                try await recovery.recover()
                try await simulation.clock.sleep(for: .seconds(70))
            }
            #expect(try await !producer.send(.init("new", id: "x")).isDuplicate)
            try await queue.cancelMessage(nodeName: old)
            #expect(try await producer.send(.init("again", id: "x")).isDuplicate)
            await producer.close()
            #expect(try await queue.drain() == ["new"])
        }
    }

    @Test("Delayed messages and dead letters are cancelled by their IDs")
    func cancelElsewhere() async throws {
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(.init("dead", id: "dead"))
            try await queue.drain { try await $0.deadLetter(reason: "no") }
            try await producer.send(.init("later", id: "later", delay: .seconds(3_600)))
            await producer.close()
            guard case .deadLettered(reason: "no", _) = try await queue.cancelMessage(id: "dead").place else {
                return #expect(Bool(false), "not dead")
            }
            guard case .delayed = try await queue.cancelMessage(id: "later").place else {
                return #expect(Bool(false), "not delayed")
            }
            let statistics = try await queue.statistics()
            #expect(statistics.deadLettered == 0 && statistics.delayed == 0)
        }
    }

    @Test("A ready or delayed message moves to another priority, and a leased one does not", arguments: [1, 3])
    func move(batch: Int) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batch)) { client, queue in
            let producer = QueueProducer(queue)
            let names = try await producer.send(contentsOf: [.init("a"), .init("b"), .init("c")]).compactMap(\.nodeName)
            let later = try await producer.send(.init("later", delay: .seconds(3_600)))
            await producer.close()
            try await queue.moveMessage(nodeName: names[2], toPriority: 5)
            try await queue.moveMessage(nodeName: try #require(later.nodeName), toPriority: 1)
            #expect(try await queue.delayedMessages().map(\.priority) == [1])
            await expect(.invalidArgument) { try await queue.moveMessage(nodeName: names[0], toPriority: 1_000) }
            await expect(.invalidArgument) { try await queue.moveMessage(nodeName: "x", toPriority: 1) }
            await expect(.notFound) { try await queue.moveMessage(nodeName: names[2], toPriority: 1) }
            #expect(
                try await queue.drain { message in
                    await expect(.notFound) {
                        try await queue.moveMessage(nodeName: message.nodeName, toPriority: 1)
                    }
                    try await message.acknowledge()
                } == ["c", "a", "b"])
        }
    }

    /// Where the message is that a test cancels.
    enum Place: CaseIterable { case ready, batch, delayed, dead, leased }

    @Test(
        "A cancellation under any fault deletes the message, or says that its outcome is unknown",
        arguments: Fault.allCases, Place.allCases)
    func cancelUnderFaults(_ fault: Fault, _ place: Place) throws {
        for call in 1...60 {
            let simulation = Simulation(.fixed, timeLimit: .seconds(7_200))
            let isOver = try simulation.run { () -> Bool in
                let other = try MessageQueue(store: simulation.zookeeper.connect("other"))
                try await other.createIfNeeded(.init(maximumBatchSize: place == .batch ? 2 : 1))
                let producer = QueueProducer(other)
                try await producer.send(contentsOf: [
                    .init("a", id: "a", delay: place == .delayed ? .seconds(3_600) : .zero), .init("b"),
                ])
                await producer.close()
                let consumer = QueueConsumer(other, configuration: .init(prefetch: 1))
                var messages = consumer.makeAsyncIterator()
                let first = [.dead, .leased].contains(place) ? try await messages.next() : nil
                if place == .dead { try await first?.deadLetter(reason: "no") }
                let store = simulation.zookeeper.connect("tested") { $0.number == call ? fault : nil }
                let queue = try MessageQueue(store: store)
                var code: QueueError.Code?
                do {
                    try await queue.cancelMessage(id: "a")
                } catch let error as QueueError {
                    code = error.code
                }
                let calls = store.callCount
                store.crash()
                // A request that is still on its way may arrive later.
                try await simulation.clock.sleep(for: .seconds(120))
                let isGone = try await other.message(id: "a") == .unknown
                if code == nil { #expect(isGone, "\(fault) at call \(call)") }
                if code != nil, code != .outcomeUnknown {
                    #expect(!isGone && code == .timedOut, "\(fault) at call \(call): \(code as Any)")
                }
                await consumer.close()
                let rest: [String] = isGone || place == .delayed || place == .dead ? ["b"] : ["a", "b"]
                #expect(try await other.drain() == rest, "\(fault) at call \(call)")
                return calls < call
            }
            if isOver { break }
        }
    }
}
