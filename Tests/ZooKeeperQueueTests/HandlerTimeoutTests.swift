import Logging
import Simulation
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// The time limit of a worker's handlers.
@Suite(.timeLimit(.minutes(2)))
struct HandlerTimeoutTests {
    /// What the handlers of a test did, and when.
    private final class Record: Sendable {
        private let storage = Mutex<[(text: String, time: Duration)]>([])
        var entries: [(text: String, time: Duration)] { storage.withLock { $0 } }
        func add(_ text: String, _ time: Duration) { storage.withLock { $0.append((text, time)) } }
    }

    private static let limit = Duration.seconds(60)

    /// Runs a message whose first delivery hangs.
    ///
    /// - Parameter ignoresCancellation: whether the hanging handler goes on when its task is cancelled.
    private func run(ignoresCancellation: Bool, workers: Int) throws -> (record: Record, log: RecordedLog) {
        let simulation = Simulation(.fixed)
        let (zookeeper, clock) = (simulation.zookeeper, simulation.clock)
        let (record, log) = (Record(), RecordedLog())
        try simulation.run {
            try await QueueProducer(try MessageQueue(store: zookeeper.connect("producer"))).send("job")
            let start = clock.now.offset
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<workers {
                    let queue = try MessageQueue(store: zookeeper.connect("worker\(number)"), logger: log.logger())
                    let worker = QueueWorker(QueueConsumer(queue), handlerTimeout: Self.limit) { message in
                        record.add("delivery \(message.deliveryCount)", clock.now.offset - start)
                        if message.deliveryCount > 1 { return }
                        let hang = Task { try await clock.sleep(for: .seconds(600)) }
                        defer { record.add("end", clock.now.offset - start) }
                        if ignoresCancellation {
                            try await hang.value
                        } else {
                            try await withTaskCancellationHandler {
                                try await hang.value
                            } onCancel: {
                                hang.cancel()
                            }
                        }
                    }
                    group.addTask { try await worker.run() }
                }
                let queue = try MessageQueue(store: zookeeper.connect("observer"))
                while try await queue.statistics().ready + queue.statistics().leased > 0
                    || record.entries.filter({ $0.text == "end" }).isEmpty
                {
                    try await clock.sleep(for: .milliseconds(100))
                }
                group.cancelAll()
            }
        }
        return (record, log)
    }

    @Test("A handler that exceeds its limit is cancelled, and its message is delivered again")
    func cancelled() throws {
        let (record, log) = try run(ignoresCancellation: false, workers: 1)
        #expect(record.entries.map(\.text) == ["delivery 1", "end", "delivery 2"])
        let times = record.entries.map(\.time)
        #expect(times[1] >= Self.limit && times[1] < Self.limit + .seconds(1) && times[2] < Self.limit + .seconds(2))
        let entry = try #require(log.entries.first { $0.message == "A handler failed" })
        #expect(entry.level == .warning && entry.metadata["error"]?.contains("time limit of 60") == true)
    }

    @Test("A handler that ignores its cancellation loses its message to another worker after five seconds")
    func ignoredCancellation() throws {
        let (record, log) = try run(ignoresCancellation: true, workers: 2)
        #expect(record.entries.map(\.text) == ["delivery 1", "delivery 2", "end"])
        let times = record.entries.map(\.time)
        #expect(times[1] >= Self.limit + .seconds(5) && times[1] < Self.limit + .seconds(8), "\(times)")
        #expect(times[2] >= .seconds(600))
        #expect(log.entries.contains { $0.level == .warning && $0.message == "A handler ignores its cancellation" })
        let errors = log.entries.filter { $0.message == "A handler failed" }.compactMap { $0.metadata["error"] }
        #expect(errors.count == 1 && errors[0].contains("although it was cancelled"), "\(errors)")
    }

    @Test("A handler that throws RejectedMessage moves its message to the dead letters at once")
    func rejected() async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        try await QueueProducer(queue).send("job")
        try await withThrowingTaskGroup(of: Void.self) { group in
            let worker = QueueWorker(QueueConsumer(queue)) { _ in throw RejectedMessage("not an order") }
            group.addTask { try await worker.run() }
            while try await queue.statistics().deadLettered == 0 { await Task.yield() }
            group.cancelAll()
        }
        let letter = try #require(try await queue.deadLetters().first)
        #expect(letter.reason == "not an order" && letter.payload == Array("job".utf8))
        #expect(try await queue.statistics().ready == 0)
    }

    @Test("A handler that ends within its limit is not disturbed", arguments: [nil, Duration.seconds(60)])
    func inTime(_ limit: Duration?) async throws {
        let queue = try MessageQueue(store: InMemoryZooKeeper().connect())
        try await QueueProducer(queue).send("job")
        try await queue.withConsumer { messages in
            for try await message in messages {
                let result = try await message.process(timeout: limit) { message in message.deliveryCount }
                #expect(result == 1 && message.leaseState == .settled)
                break
            }
        }
        #expect(try await queue.statistics().ready == 0)
    }
}
