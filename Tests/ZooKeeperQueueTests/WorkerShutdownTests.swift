import ServiceLifecycle
import ServiceLifecycleTestKit
import Simulation
import Synchronization
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// What becomes of handlers at work when a service ends.
@Suite(.timeLimit(.minutes(2)))
struct WorkerShutdownTests {
    /// Handlers that wait until the test lets them go on.
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
                    let goesOn = state.withLock { state -> Bool in
                        if state.isOpen || Task.isCancelled { return true }
                        state.waiters.append(continuation)
                        return false
                    }
                    if goesOn { continuation.resume() }
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
        "A graceful shutdown lets every handler at work finish, whatever its neighbours do",
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
                // The idle slots have ended when the consumer takes no more.
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

    @Test("What a shutdown interrupts counts as no delivery, however often it happens")
    func interruptionsAreNotCounted() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect()).creating(with: .init(maximumDeliveries: 3))
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
                    // Every other time as an abrupt end: the task is cancelled.
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
        #expect(try await queue.statistics().deadLettered == 0)
    }

    @Test("A worker whose servers hang ends five seconds after its grace period", arguments: [1, 2])
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
        // The gate opens for all with the first one that is cancelled.
        #expect(gate.cancelled + gate.finished == busy)
    }

    @Test("A handler that fails still counts")
    func failuresAreCounted() async throws {
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
}
