import Simulation
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Pausing and resuming a queue.
@Suite(.timeLimit(.minutes(1)))
struct PauseTests {
    @Test("A paused queue refuses sends until it is resumed")
    func send() async throws {
        try await withTestQueue { _, queue in
            let producers = (running: QueueProducer(queue), new: QueueProducer(queue))
            try await producers.running.send("a")
            try await queue.update { $0.paused = [.send] }
            for producer in [producers.running, producers.new] {
                await expect(.paused) { try await producer.send("refused") }
                await expect(.paused) { try await producer.send("refused", timeout: .seconds(5)) }
            }
            let statistics = try await queue.statistics()
            #expect(statistics.ready == 1 && statistics.paused == [.send])
            try await queue.update { $0.paused = [] }
            for producer in [producers.running, producers.new] {
                try await producer.send("b")
                await producer.close()
            }
            #expect(try await queue.drain() == ["a", "b", "b"])
        }
    }

    @Test("Every message sent during pauses is either stored or refused, and each refused one is missing")
    func sendsDuringPauses() async throws {
        try await withTestQueue { _, queue in
            let producer = QueueProducer(queue)
            let pausing = Task {
                // Each pause lasts for some milliseconds. Cancellation ends the last one.
                repeat {
                    try await queue.update { $0.paused = $0.paused.isEmpty ? [.send] : [] }
                } while (try? await Task.sleep(for: .milliseconds(2))) != nil
            }
            var stored: Set<String> = []
            for round in 0..<40 {
                stored.formUnion(
                    try await withThrowingTaskGroup(of: String?.self) { group in
                        for number in 0..<50 {
                            group.addTask {
                                do {
                                    try await producer.send("\(round) \(number)")
                                    return "\(round) \(number)"
                                } catch let error as QueueError where error.code == .paused {
                                    return nil
                                }
                            }
                        }
                        return try await group.reduce(into: Set<String>()) { $0.formUnion([$1].compactMap { $0 }) }
                    })
            }
            pausing.cancel()
            // The update that is interrupted throws.
            do { try await pausing.value } catch is CancellationError {}
            await producer.close()
            try await queue.update { $0.paused = [] }
            let taken = try await queue.drain()
            #expect(taken.count == stored.count && Set(taken) == stored)
            #expect(!stored.isEmpty && stored.count < 2_000)
        }
    }

    @Test("A batch whose request was lost is not stored during the pause that refuses the rest of its send")
    func partOfASend() throws {
        try simulateQueue { simulation, queue in
            // The first attempt of the second send's first batch does not reach a server.
            let batches = Atomic(0)
            let store = simulation.zookeeper.connect(
                "producer",
                faults: { call in
                    guard call.request == "multi" else { return nil }
                    return batches.wrappingAdd(1, ordering: .relaxed).newValue == 2 ? .requestLost : nil
                })
            let producer = QueueProducer(try MessageQueue(store: store))
            try await producer.send("before")
            try await queue.update { $0.paused = [.send] }
            await expect(.paused) {
                try await producer.send(contentsOf: (0..<2_500).map { OutgoingMessage("\($0)") })
            }
            try await queue.store.sleep(for: .seconds(60))
            #expect(try await queue.statistics().ready == 1)
            #expect(batches.load(ordering: .relaxed) > 2)
            await producer.close()
        }
    }

    @Test(
        "A paused queue hands out nothing, and consumers continue when it is resumed",
        arguments: [(1, false), (10, false), (1, true)])
    func consume(_ batch: Int, _ pullsOnDemand: Bool) async throws {
        try await withTestQueue(attributes: .init(maximumBatchSize: batch)) { _, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<10).map { OutgoingMessage("\($0)") })
            await producer.close()
            var configuration = QueueConsumer.Configuration(prefetch: 4)
            configuration.pullsOnDemand = pullsOnDemand
            let consumer = QueueConsumer(queue, configuration: configuration)
            var messages = consumer.makeAsyncIterator()
            let held = try #require(try await messages.next())
            try await queue.update { $0.paused = [.consume] }
            // Wait until the consumer, which holds messages, knows it. Nothing outside of the consumer changes then.
            while await !consumer.state.isPaused { try await Task.sleep(for: .milliseconds(5)) }
            #expect(try await messages.next(within: .zero) == nil)
            #expect(try await messages.next(within: .milliseconds(50)) == nil)
            let late = QueueConsumer(queue)
            var lateMessages = late.makeAsyncIterator()
            #expect(try await lateMessages.next(within: .zero) == nil)
            try await held.acknowledge()
            // The buffer is returned. No single watch tells how many messages are leased.
            while try await queue.statistics().leased > 0 { try await Task.sleep(for: .milliseconds(50)) }
            let waiting = Task {
                var messages = late.makeAsyncIterator()
                return try await messages.next()
            }
            // Its registration shows that its reader has begun.
            while await late.state.registration == nil { try await Task.sleep(for: .milliseconds(5)) }
            try await queue.update { $0.paused = [] }
            var numbers = [0]
            if let message = try await waiting.value {
                #expect(message.deliveryCount == 1)
                numbers.append(try #require(Int(String(decoding: message.payload, as: UTF8.self))))
                try await message.acknowledge()
            }
            await late.close()
            while numbers.count < 10, let message = try await messages.next() {
                #expect(message.deliveryCount == 1)
                numbers.append(try #require(Int(String(decoding: message.payload, as: UTF8.self))))
                try await message.acknowledge()
            }
            #expect(numbers.sorted() == Array(0..<10))
            await consumer.close()
            #expect(try await queue.statistics().consumers == 0)
        }
    }

    @Test("A consumer whose session ends during a pause stays paused, and continues afterwards")
    func expiredSession() throws {
        try simulateQueue { simulation, queue in
            let store = simulation.zookeeper.connect("consumer")
            let consumer = QueueConsumer(try MessageQueue(store: store))
            let waiting = Task.immediate {
                var messages = consumer.makeAsyncIterator()
                return try await messages.next()
            }
            try await queue.store.sleep(for: .seconds(1))
            try await queue.update { $0.paused = [.consume] }
            try await QueueProducer(queue).send("a")
            try await queue.store.sleep(for: .seconds(1))
            store.expire()
            try await queue.store.sleep(for: .seconds(60))
            let state = await consumer.state
            #expect(state.isPaused && state.registration != nil)
            #expect(try await queue.statistics().ready == 1)
            try await queue.update { $0.paused = [] }
            try await waiting.value?.acknowledge()
            await consumer.close()
        }
    }

    @Test("The settings name what is paused, and an unknown name is ignored")
    func wireFormat() {
        let attributes = QueueAttributes(paused: [.send, .consume])
        #expect(attributes.encoded() == Array("paused=consume,send\n".utf8))
        #expect(QueueAttributes(attributes.encoded()) == attributes)
        #expect(QueueAttributes(Array("paused=redeliver,send\n".utf8)).paused == [.send])
    }
}
