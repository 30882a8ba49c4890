public import ZooKeeperJobs
public import ZooKeeperQueue

extension JobQueue {
    /// Creates a queue of jobs in memory, with virtual time, for the tests of a program.
    ///
    /// ```swift
    /// let test = try await JobQueue.test()
    /// try await placeOrder(42, test.jobs)
    /// #expect(try await test.pushed(ChargeCard.self).map(\.job.order) == ["o-42"])
    /// try await test.run(worker(test.jobs))
    /// try await test.advance(by: .seconds(3_600), running: worker(test.jobs))
    /// ```
    ///
    /// - Parameters:
    ///   - attributes: the queue's attributes.
    ///   - coder: encodes and decodes the jobs.
    ///   - middleware: may change each job before it is stored.
    /// - Throws: `QueueError` for invalid attributes.
    public static func test(
        _ attributes: QueueAttributes = .init(), coder: any JobCoder = JSONJobCoder(),
        middleware: [any JobMiddleware] = []
    ) async throws -> JobQueueTest {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let queue = try MessageQueue(store: zookeeper.connect(), path: "/queue")
        try await queue.createIfNeeded(attributes)
        return JobQueueTest(
            jobs: JobQueue(queue, coder: coder, middleware: middleware), zookeeper: zookeeper, clock: clock)
    }
}
