import Logging
import ServiceLifecycle
import ServiceLifecycleTestKit
import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Workers: their handlers, failures and shutdowns.
@Suite(.timeLimit(.minutes(2)))
struct WorkerTests {
    /// Holds its handlers until the test opens it.
    private final class Gate: Sendable {
        private struct State {
            var started = 0
            var finished = 0
            var cancelled = 0
            var isOpen = false
            var waiters: [CheckedContinuation<Void, Never>] = []
        }
        private let state = Mutex(State())
        var started: Int { state.withLock { $0.started } }
        var finished: Int { state.withLock { $0.finished } }
        var cancelled: Int { state.withLock { $0.cancelled } }

        func handle() async throws {
            state.withLock { $0.started += 1 }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let continues = state.withLock { state -> Bool in
                        if state.isOpen || Task.isCancelled { return true }
                        state.waiters.append(continuation)
                        return false
                    }
                    if continues { continuation.resume() }
                }
            } onCancel: {
                open()
            }
            if Task.isCancelled {
                state.withLock { $0.cancelled += 1 }
                throw CancellationError()
            }
            state.withLock { $0.finished += 1 }
        }

        func open() {
            let waiters = state.withLock { state in
                state.isOpen = true
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in waiters { waiter.resume() }
        }
    }

    @Test(
        "A graceful shutdown lets every running handler finish",
        arguments: [(4, 0), (4, 1), (4, 3), (4, 4), (1, 1), (8, 5)])
    func handlersFinish(concurrency: Int, busy: Int) async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: (0..<busy).map { OutgoingMessage("\($0)") })
        await producer.close()
        let gate = Gate()
        let consumer = QueueConsumer(queue)
        let worker = QueueWorker(consumer, concurrency: concurrency) { _ in try await gate.handle() }
        try await testGracefulShutdown { trigger in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                try await queue.prepare()
                while gate.started < busy { await Task.yield() }
                while await consumer.state.waiters.isEmpty, busy < concurrency { await Task.yield() }
                trigger.triggerGracefulShutdown()
                // The idle slots have ended when the consumer is closing and no request waits.
                while await consumer.state.phase == .open { await Task.yield() }
                while await !consumer.state.waiters.isEmpty { await Task.yield() }
                for _ in 0..<1_000 { await Task.yield() }
                #expect(gate.cancelled == 0)
                gate.open()
                try await group.waitForAll()
            }
        }
        #expect(gate.finished == busy && gate.cancelled == 0)
        #expect(try await queue.statistics().ready == 0)
        #expect(try await queue.statistics().deadLettered == 0)
    }

    @Test("A delivery that a shutdown interrupts does not count, and is not reported as a failure")
    func interruptions() async throws {
        let log = RecordedLog()
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect(), logger: log.logger())
            .creating(with: .init(maximumDeliveries: 3))
        let producer = QueueProducer(queue)
        try await producer.send("job")
        await producer.close()
        for restart in 0..<10 {
            let gate = Gate()
            let worker = QueueWorker(QueueConsumer(queue), concurrency: 2, gracePeriod: .milliseconds(20)) { _ in
                try await gate.handle()
            }
            try await testGracefulShutdown { trigger in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    while gate.started == 0 { await Task.yield() }
                    // Every other time, the task is cancelled instead.
                    if restart.isMultiple(of: 2) { trigger.triggerGracefulShutdown() } else { group.cancelAll() }
                    try await group.waitForAll()
                }
            }
            #expect(gate.finished == 0)
        }
        try await queue.drain {
            #expect($0.deliveryCount == 1)
            try await $0.acknowledge()
        }
        #expect(!log.entries.contains { $0.level >= .warning }, "\(log.entries.filter { $0.level >= .warning })")
        #expect(try await queue.statistics().deadLettered == 0)
    }

    @Test("A worker ends within five seconds after its grace period when its servers hang", arguments: [1, 2])
    func hangingServers(busy: Int) throws {
        let simulation = Simulation(.fixed)
        let (zookeeper, clock) = (simulation.zookeeper, simulation.clock)
        let gate = Gate()
        let took = try simulation.run {
            let hangs = Mutex(false)
            let store = zookeeper.connect(
                sessionTimeout: .seconds(600), requestTimeout: .seconds(120),
                faults: { _ in hangs.withLock { $0 } ? .requestTooLate : nil })
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<busy).map { OutgoingMessage("\($0)") })
            await producer.close()
            let worker = QueueWorker(QueueConsumer(queue), concurrency: 2, gracePeriod: .seconds(20)) { _ in
                try await gate.handle()
            }
            return try await testGracefulShutdown { trigger in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    while gate.started < busy { try await clock.sleep(for: .milliseconds(10)) }
                    hangs.withLock { $0 = true }
                    let start = clock.now.offset
                    trigger.triggerGracefulShutdown()
                    try await group.waitForAll()
                    store.crash()
                    return clock.now.offset - start
                }
            }
        }
        #expect(took <= .seconds(25))
        // The first handler that is cancelled opens the gate for all.
        #expect(gate.cancelled + gate.finished == busy)
    }

    @Test("A delivery counts when its handler fails")
    func failures() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect()).creating(with: .init(maximumDeliveries: 3))
        let producer = QueueProducer(queue)
        try await producer.send("job")
        await producer.close()
        struct Failure: Error {}
        let deliveries = Mutex<[Int]>([])
        let worker = QueueWorker(QueueConsumer(queue), concurrency: 2) { message in
            deliveries.withLock { $0.append(message.deliveryCount) }
            throw Failure()
        }
        await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            while (try? await queue.statistics().deadLettered) != 1 { await Task.yield() }
            group.cancelAll()
        }
        #expect(deliveries.withLock { $0 } == [1, 2, 3])
    }

    @Test("A worker handles every message, retries failures and shuts down gracefully")
    func retriesAndShutdown() async throws {
        struct Failure: Error {}
        try await withTestQueue { client, queue in
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<100).map { OutgoingMessage("\($0)") })
            await producer.close()
            let handled = Mutex<[String: Int]>([:])
            let (progress, step) = AsyncStream.makeStream(of: Int.self)
            let worker = QueueWorker(QueueConsumer(queue), concurrency: 4) { message in
                let text = String(decoding: message.payload, as: UTF8.self)
                if message.deliveryCount == 1, text.hasSuffix("7") { throw Failure() }
                step.yield(
                    handled.withLock { handled in
                        handled[text, default: 0] += 1
                        return handled.count
                    })
            }
            try await testGracefulShutdown { trigger in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    for await count in progress where count == 100 { break }
                    trigger.triggerGracefulShutdown()
                    try await group.waitForAll()
                }
            }
            #expect(handled.withLock { $0.values.allSatisfy { $0 == 1 } && $0.count == 100 })
            try await queue.expectEmptyTree()
        }
    }
}
