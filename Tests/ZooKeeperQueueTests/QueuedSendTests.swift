import Glibc
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Sends that wait: their deadlines, their cancellation and their limits.
@Suite(.timeLimit(.minutes(2)))
struct QueuedSendTests {
    // MARK: Deadlines

    @Test("A send that was never transmitted times out at its own deadline")
    func neverSent() async throws {
        let zookeeper = InMemoryZooKeeper()
        let session = zookeeper.connect(requestTimeout: .seconds(60))
        session.disconnect(for: .seconds(600))
        let producer = QueueProducer(
            try MessageQueue(store: session), configuration: .init(sendTimeout: .milliseconds(50)))
        let start = ContinuousClock.now
        let patient = Task { try await producer.send("patient", timeout: .seconds(600)) }
        for _ in 0..<2 {
            let error = await #expect(throws: QueueError.self) { try await producer.send("x") }
            #expect(error?.code == .timedOut && error?.unresolvedSend == nil, "\(error as Any)")
        }
        await expect(.timedOut) { try await producer.send("x", timeout: .milliseconds(10)) }
        // A send must not wait for the request timeout of a minute.
        #expect(start.duration(to: .now) < .seconds(30))
        patient.cancel()
        await #expect(throws: CancellationError.self) { try await patient.value }
        session.disconnect(for: .zero)
        try await producer.send("later", timeout: .seconds(60))
        await producer.close()
        #expect(zookeeper.payloads == ["later"])
    }

    @Test("A send in flight at its deadline has an unknown outcome, which resume resolves")
    func inFlightAtDeadline() async throws {
        let (zookeeper, fault) = (InMemoryZooKeeper(), OneTimeFault(.replyTooLate))
        let session = zookeeper.connect(requestTimeout: .seconds(60), faults: fault.plan)
        let producer = QueueProducer(
            try MessageQueue(store: session), configuration: .init(sendTimeout: .milliseconds(50)))
        fault.arm()
        let start = ContinuousClock.now
        let error = await #expect(throws: QueueError.self) { try await producer.send("x") }
        let send = try #require(error?.code == .outcomeUnknown ? error?.unresolvedSend : nil)
        let again = await #expect(throws: QueueError.self) { try await producer.resume(send) }
        #expect(again?.code == .outcomeUnknown && again?.unresolvedSend == send)
        #expect(start.duration(to: .now) < .seconds(30))
        session.disconnect(for: .zero)
        #expect(try await producer.resume(send, timeout: .seconds(30)) == [SendReceipt(nodeName: nil)])
        await expect(.notFound) { try await producer.resume(send) }
        await producer.close()
        #expect(zookeeper.payloads == ["x"])
    }

    @Test("A send that waits behind an unknown outcome times out with a certain outcome")
    func behindUnknownOutcome() async throws {
        let (zookeeper, fault) = (InMemoryZooKeeper(), OneTimeFault(.replyTooLate))
        let session = zookeeper.connect(requestTimeout: .milliseconds(200), faults: fault.plan)
        let producer = QueueProducer(try MessageQueue(store: session))
        fault.arm()
        let first = Task { try await producer.send("first") }
        await fault.occurred()
        session.pause(for: .seconds(600))
        let error = await #expect(throws: QueueError.self) {
            try await producer.send("second", timeout: .milliseconds(600))
        }
        #expect(error?.code == .timedOut && error?.cause?.outcome != .unknown, "\(error as Any)")
        #expect(error?.description.contains("may or may not") == false)
        session.disconnect(for: .zero)
        _ = try await first.value
        await producer.close()
        #expect(zookeeper.payloads == ["first"])
    }

    // MARK: Cancellation

    @Test("A send that is cancelled in flight can be resumed")
    func cancelledInFlight() async throws {
        let (zookeeper, fault) = (InMemoryZooKeeper(), OneTimeFault(.replyTooLate))
        let session = zookeeper.connect(requestTimeout: .seconds(60), faults: fault.plan)
        let producer = QueueProducer(try MessageQueue(store: session))
        fault.arm()
        let task = Task { try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) }) }
        await fault.occurred()
        task.cancel()
        let error = await #expect(throws: QueueError.self) { try await task.value }
        let send = try #require(error?.code == .outcomeUnknown ? error?.unresolvedSend : nil)
        session.disconnect(for: .zero)
        #expect(try await producer.resume(send).count == 2)
        await producer.close()
        #expect(zookeeper.payloads == ["a", "b"])
    }

    @Test("Cancelling half of 50,000 waiting sends keeps the rest in order, and costs no more for each than of 12,500")
    func manyCancelled() async throws {
        // Processor time, and the smallest of three, because other processes evict this one's caches. Four times as
        // many sends cost four times as much. If one cancellation searched all waiting sends, they would cost 16 times
        // as much.
        let few = try await smallestCost(12_500)
        let many = try await smallestCost(50_000)
        #expect(many < few * 8, "\(many) instead of four times \(few)")
    }

    /// Cancels half of `count` waiting sends, three times.
    private func smallestCost(_ count: Int) async throws -> Duration {
        var smallest = Duration.seconds(3_600)
        for _ in 0..<3 {
            let rest = try await drain(count)
            #expect(rest.payloads == stride(from: 1, to: count, by: 2).map(String.init))
            smallest = min(smallest, rest.cost)
        }
        return smallest
    }

    /// Lets `count` sends wait, cancels every other one, and connects.
    ///
    /// - Returns: the stored payloads, and the processor time of the process, which does not depend on other processes
    ///   as elapsed time does.
    private func drain(_ count: Int) async throws -> (payloads: [String], cost: Duration) {
        let zookeeper = InMemoryZooKeeper()
        let session = zookeeper.connect(sessionTimeout: .seconds(600), requestTimeout: .seconds(600))
        session.disconnect(for: .seconds(600))
        // Batches, because the in-memory tree copies the names of all children for each new node.
        let queue = try MessageQueue(store: session).creating(with: .init(maximumBatchSize: 900))
        let producer = QueueProducer(queue, configuration: .init(sendTimeout: .seconds(600)))
        let tasks = await producer.begin(0..<count)
        let start = processorTime()
        let cancelled = stride(from: 0, to: count, by: 2).map { tasks[$0] }
        for task in cancelled { task.cancel() }
        var refused = 0
        for task in cancelled {
            if case .failure(is CancellationError) = await task.result { refused += 1 }
        }
        #expect(refused == cancelled.count)
        session.disconnect(for: .zero)
        for number in stride(from: 1, to: count, by: 2) {
            _ = try await tasks[number].value
        }
        let cost = processorTime() - start
        await producer.close()
        return (zookeeper.payloads, cost)
    }

    /// The processor time that this process has used.
    private func processorTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    // MARK: Limits

    @Test("A producer rejects sends beyond its limits until fewer wait")
    func queueLimit() async throws {
        let zookeeper = InMemoryZooKeeper()
        let session = zookeeper.connect()
        let queue = try MessageQueue(store: session)
        session.disconnect(for: .seconds(600))
        let producer = QueueProducer(queue, configuration: .init(maximumQueuedSends: 3))
        let tasks = await producer.begin(0..<3)
        await expect(.overloaded) { try await producer.send("more") }
        tasks[1].cancel()
        await #expect(throws: CancellationError.self) { try await tasks[1].value }
        let last = await producer.begin(3..<4)
        await expect(.overloaded) { try await producer.send("more") }
        let byBytes = QueueProducer(queue, configuration: .init(maximumQueuedBytes: 1))
        let only = await byBytes.begin(4..<5)
        await expect(.overloaded) { try await byBytes.send("more") }
        session.disconnect(for: .zero)
        for task in [tasks[0], tasks[2]] + last + only { _ = try await task.value }
        try await producer.send("5")
        try await byBytes.send("6")
        await producer.close()
        await byBytes.close()
        #expect(Set(zookeeper.payloads) == ["0", "2", "3", "4", "5", "6"])
    }
}

extension QueueProducer {
    /// Starts sends in the order of their numbers. On return, each of them waits in the producer or is in flight.
    fileprivate func begin(_ numbers: Range<Int>) -> [Task<SendReceipt, any Error>] {
        numbers.map { number in Task.immediate { try await self.send("\(number)") } }
    }
}
