import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

@testable import ZooKeeperJobs

struct UniqueTests {
    private let job = ChargeCard(order: "o-42")

    @Test("A job that is unique until it is done comes once, and its receipt names the first one")
    func untilDone() async throws {
        let test = try await JobQueue.test()
        let options = JobOptions(unique: .until(.done))
        let first = try await test.jobs.push(job, options)
        let second = try await test.jobs.push(job, options)
        #expect(!first.isDuplicate && second.isDuplicate && second.id == first.id)
        // Another value, and another key, are other jobs.
        #expect(try await !test.jobs.push(ChargeCard(order: "o-43"), options).isDuplicate)
        #expect(try await !test.jobs.push(job, .init(unique: .until(.done, key: "other"))).isDuplicate)
        let jobs = test.jobs
        let worker = JobWorker(jobs).handle(ChargeCard.self) { job, context in
            if context.id == first.id {
                #expect(try await jobs.push(job, options).isDuplicate)
                if context.attempt == 1 { throw BankIsClosed() }
            }
        }
        try await test.run(worker)
        #expect(try await !test.jobs.push(job, options).isDuplicate)
        try await test.run(worker)
        #expect(try await locks(test).isEmpty)
    }

    @Test("A job that is unique until it starts can be pushed again while it runs")
    func untilStarted() async throws {
        let test = try await JobQueue.test()
        let (jobs, options) = (test.jobs, JobOptions(unique: .until(.started)))
        let first = try await jobs.push(job, options)
        #expect(try await jobs.push(job, options).isDuplicate)
        let attempts = try await test.run(
            JobWorker(jobs).handle(ChargeCard.self) { [job] _, context in
                if context.id == first.id {
                    if context.attempt == 1 { #expect(try await !jobs.push(job, options).isDuplicate) }
                    // The lock is now that of the second job, which a retry of the first one must leave alone.
                    if context.attempt == 1 { throw BankIsClosed() }
                    #expect(try await jobs.push(job, options).isDuplicate)
                }
            })
        #expect(attempts.count == 3)
        #expect(try await locks(test).isEmpty)
    }

    @Test("A job that is unique within a time can be pushed again after it, whatever became of the first one")
    func withinTime() async throws {
        let test = try await JobQueue.test()
        let options = JobOptions(delay: .seconds(30), unique: .within(.seconds(60)))
        let first = try await test.jobs.push(job, options)
        let worker = JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in }
        #expect(try await test.advance(by: .seconds(31), running: worker).count == 1)
        try await test.advance(by: .seconds(58))
        #expect(try await test.jobs.push(job, options).id == first.id)
        try await test.advance(by: .seconds(2))
        let second = try await test.jobs.push(job, options)
        #expect(!second.isDuplicate && second.id != first.id)
    }

    @Test("A lock ends when its job becomes a dead letter, and at its limit when the job never ends")
    func deadLetters() async throws {
        let test = try await JobQueue.test(.init(maximumDeliveries: 3))
        let options = JobOptions(unique: .until(.done, atMost: .seconds(600)))
        try await test.jobs.push(job, options)
        let failing = JobWorker(test.jobs).handle(ChargeCard.self) { _, context in
            if context.attempt == 1 { throw BankIsClosed() }
            throw context.attempt == 2 ? RetryJob(after: .zero, reason: "again") : BankIsClosed()
        }
        #expect(try await test.run(failing).count == 3)
        #expect(try await locks(test).isEmpty)

        let receipt = try await test.jobs.push(job, options)
        try await test.jobs.queue.purge()
        #expect(try await test.jobs.push(job, options).id == receipt.id)
        try await test.advance(by: .seconds(601))
        #expect(try await !test.jobs.push(job, options).isDuplicate)
    }

    @Test("Expired locks are removed, and others stay")
    func sweep() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(job, .init(unique: .within(.seconds(60))))
        try await test.jobs.push(ChargeCard(order: "other"), .init(unique: .within(.seconds(600))))
        let session = test.zookeeper.connect()
        _ = try await session.create("/queue/jobs/unique/zz", data: [], mode: .persistent)
        _ = try await session.create("/queue/jobs/unique/zz/odd", data: Array("odd".utf8), mode: .persistent)
        try await ExpirySweep(test.jobs).removeExpired()
        #expect(try await locks(test).count == 3)
        try await test.advance(by: .seconds(61))
        try await ExpirySweep(test.jobs).removeExpired()
        #expect(try await locks(test).count == 2)
    }

    @Test("Any text can be a key, and different keys never share a lock")
    func keys() async throws {
        let test = try await JobQueue.test()
        for key in [".", "..", "a/b", "a%2Fb", "é", "e\u{301}", " ", "\0", "x:y"] {
            #expect(try await !test.jobs.push(job, .init(unique: .until(.done, key: key))).isDuplicate, "\(key)")
        }
        #expect(try await test.jobs.push(job, .init(unique: .until(.done, key: "a/b"))).isDuplicate)
    }

    private func locks(_ test: JobQueueTest) async throws -> [String] {
        test.zookeeper.nodes.keys.filter { $0.hasPrefix("/queue/jobs/unique/") && $0.split(separator: "/").count == 5 }
    }

    @Test("A binary job needs a key, and a unique job can have no ID of its own")
    func invalid() async throws {
        struct BinaryCoder: JobCoder {
            var contentType: String { "application/octet-stream" }
            func encode(_ job: some Encodable) throws -> [UInt8] { [0x81, 0xFF] }
            func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
                throw BankIsClosed()
            }
        }
        let test = try await JobQueue.test(coder: BinaryCoder())
        let binary = await #expect(throws: JobError.self) {
            try await test.jobs.push(job, .init(unique: .until(.done)))
        }
        #expect(binary?.code == .invalidJob)
        try await test.jobs.push(job, .init(unique: .until(.done, key: "k")))
        let id = await #expect(throws: JobError.self) {
            try await test.jobs.push(job, .init(id: "x", unique: .until(.done, key: "k")))
        }
        #expect(id?.code == .invalidJob)
    }

    @Test("A lock ends with its job's expiry, and with a dead letter that no handler accepted")
    func otherEnds() async throws {
        let test = try await JobQueue.test(.init(maximumDeliveries: 2))
        let options = JobOptions(expiresAfter: .seconds(60), unique: .until(.done))
        try await test.jobs.push(job, options)
        try await test.advance(by: .seconds(61))
        #expect(try await !test.jobs.push(job, options).isDuplicate)
        try await test.jobs.push(SendReport(report: "r"), .init(unique: .until(.done)))
        let worker = JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in }
        try await test.run(worker)
        try await test.advance(by: .seconds(10), running: worker)
        #expect(try await test.jobs.queue.statistics().deadLettered >= 1)
        #expect(try await locks(test).isEmpty)
    }
}
