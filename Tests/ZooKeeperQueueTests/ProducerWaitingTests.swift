import Glibc
import Synchronization
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// How long a send waits, and what a caller is told that waits no longer.
@Suite(.timeLimit(.minutes(2)))
struct ProducerWaitingTests {
    // MARK: Deadlines

    @Test("A send that could not begin ends at its own time, and is not stored")
    func aSendThatNeverBegan() async throws {
        let session = InMemoryZooKeeper().connect(requestTimeout: .seconds(60))
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
        // Not only when the call's deadline passes.
        #expect(start.duration(to: .now) < .seconds(30))
        patient.cancel()
        await #expect(throws: CancellationError.self) { try await patient.value }
        session.close()
        await producer.close()
    }

    @Test("A send that is under way at its time is unknown, and repeating it finds out")
    func aSendUnderWay() async throws {
        let (zookeeper, fault) = (InMemoryZooKeeper(), OneFault(.replyTooLate))
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

    @Test("A send that waits behind one of unknown outcome is told what is certain of itself, and nothing else")
    func certainErrorsHaveCertainCauses() async throws {
        let (zookeeper, fault) = (InMemoryZooKeeper(), OneFault(.replyTooLate))
        let session = zookeeper.connect(requestTimeout: .milliseconds(200), faults: fault.plan)
        let producer = QueueProducer(try MessageQueue(store: session))
        fault.arm()
        let first = Task { try await producer.send("first") }
        await fault.happened()
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

    @Test("A send that is cancelled under way hands back what finds out its outcome")
    func cancelledUnderWay() async throws {
        let (zookeeper, fault) = (InMemoryZooKeeper(), OneFault(.replyTooLate))
        let session = zookeeper.connect(requestTimeout: .seconds(60), faults: fault.plan)
        let producer = QueueProducer(try MessageQueue(store: session))
        fault.arm()
        let task = Task { try await producer.send(contentsOf: ["a", "b"].map { OutgoingMessage($0) }) }
        await fault.happened()
        task.cancel()
        let error = await #expect(throws: QueueError.self) { try await task.value }
        let send = try #require(error?.code == .outcomeUnknown ? error?.unresolvedSend : nil)
        session.disconnect(for: .zero)
        #expect(try await producer.resume(send).count == 2)
        await producer.close()
        #expect(zookeeper.payloads == ["a", "b"])
    }

    @Test(
        "Half of 50,000 waiting sends are cancelled: the others are stored once, in order, and at about the same cost")
    func manyCancelled() async throws {
        let count = 50_000
        let all = try await drain(count, cancelling: false)
        #expect(all.payloads == (0..<count).map(String.init))
        let half = try await drain(count, cancelling: true)
        #expect(half.payloads == stride(from: 1, to: count, by: 2).map(String.init))
        #expect(half.cost < all.cost * 1.5, "\(half.cost) instead of \(all.cost)")
    }

    /// Lets so many sends wait, cancels each other one of them, and connects.
    ///
    /// - Returns: what was stored, and the processor time that it took. Unlike the time on the clock, this does not depend on
    ///   what else the machine does.
    private func drain(_ count: Int, cancelling: Bool) async throws -> (payloads: [String], cost: Duration) {
        let zookeeper = InMemoryZooKeeper()
        let session = zookeeper.connect(sessionTimeout: .seconds(600), requestTimeout: .seconds(600))
        session.disconnect(for: .seconds(600))
        // Several in a node, because the tree in memory copies the names of all children for each new one.
        let queue = try MessageQueue(store: session).creating(with: .init(maximumBatchSize: 900))
        let producer = QueueProducer(queue, configuration: .init(sendTimeout: .seconds(600)))
        let tasks = await producer.begin(0..<count)
        let start = processorTime()
        if cancelling {
            let cancelled = stride(from: 0, to: count, by: 2).map { tasks[$0] }
            for task in cancelled { task.cancel() }
            var refused = 0
            for task in cancelled {
                if case .failure(is CancellationError) = await task.result { refused += 1 }
            }
            #expect(refused == cancelled.count)
        }
        session.disconnect(for: .zero)
        for number in stride(from: cancelling ? 1 : 0, to: count, by: cancelling ? 2 : 1) {
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

    // MARK: The limit

    @Test("A producer refuses what would wait beyond its limit, and accepts again when less waits")
    func aLimitOfWhatWaits() async throws {
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

    // MARK: Folders

    @Test(
        "A folder that was removed is made again, and the send goes on", arguments: ["items", "producers", "epoch"])
    func aFolderIsMissing(_ folder: String) async throws {
        let zookeeper = InMemoryZooKeeper()
        let producer = QueueProducer(try MessageQueue(store: zookeeper.connect()))
        try await producer.send("one")
        try await zookeeper.deleteAll("/queue/\(folder)")
        try await producer.send("two")
        await producer.close()
        #expect(zookeeper.payloads == (folder == "items" ? ["two"] : ["one", "two"]))
    }

    @Test("A queue whose root was removed is missing")
    func theRootIsMissing() async throws {
        let zookeeper = InMemoryZooKeeper()
        let producer = QueueProducer(
            try MessageQueue(store: zookeeper.connect(), createIfMissing: false))
        try await MessageQueue(store: zookeeper.connect("owner")).prepare()
        try await producer.send("one")
        try await zookeeper.deleteAll("/queue")
        await expect(.queueNotFound) { try await producer.send("two") }
        await producer.close()
        #expect(zookeeper.payloads == [])
    }
}

extension QueueProducer {
    /// Begins sends in the order of their numbers; all of them wait in the producer, or are under way, when it returns.
    fileprivate func begin(_ numbers: Range<Int>) -> [Task<SendReceipt, any Error>] {
        numbers.map { number in Task.immediate { try await self.send("\(number)") } }
    }
}

extension InMemoryZooKeeper {
    /// What is ready, in the order of the names.
    var payloads: [String] {
        nodes.filter { $0.key.hasPrefix("/queue/items/") }.sorted { $0.key < $1.key }.flatMap { path, node in
            NodeContents(name: NodePath.name(of: path), data: node.data ?? []).messages.map {
                String(decoding: $0.payload, as: UTF8.self)
            }
        }
    }

    /// Removes a node and all below it.
    func deleteAll(_ path: String) async throws {
        let session = connect("deleter")
        for path in nodes.keys.filter({ $0 == path || $0.hasPrefix(path + "/") }).sorted(by: >) {
            try await session.delete(path, version: nil)
        }
        session.close()
    }
}

/// A fault that comes once, at the first batch that a producer sends after it is armed.
final class OneFault: Sendable {
    private let fault: Fault
    private let isArmed = Mutex(false)
    private let happenings: AsyncStream<Void>
    private let report: AsyncStream<Void>.Continuation

    init(_ fault: Fault) {
        self.fault = fault
        (happenings, report) = AsyncStream.makeStream()
    }

    func arm() { isArmed.withLock { $0 = true } }

    var plan: FaultPlan {
        { [self] site in
            let isDue = isArmed.withLock { isArmed in
                guard isArmed, site.request == "multi", site.path.hasPrefix("/queue/producers/") else { return false }
                isArmed = false
                return true
            }
            guard isDue else { return nil }
            report.yield()
            return fault
        }
    }

    /// Waits until the fault has come.
    func happened() async { for await _ in happenings { return } }
}
