import Testing
import ZooKeeperQueue
import ZooKeeperTestKit

@testable import ZooKeeperJobs

struct BatchTests {
    @Test("When all jobs of a batch are done, its last job comes, once", arguments: [1, 2, 3, 10, 63, 64, 65, 200])
    func last(_ count: Int) async throws {
        let test = try await JobQueue.test()
        let batch = try await test.jobs.push(
            batch: (1...count).map { ChargeCard(order: "\($0)") }, then: SendReport(report: "done"),
            lastOptions: .init(priority: 3, headers: ["a": "b"]))
        #expect(batch.jobs.count == count)
        #expect(try await test.jobs.status(ofBatch: batch.id)?.unfinished == count)
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self) { job, context in
                if job.order == "1", context.attempt == 1 { throw BankIsClosed() }
            }.handle(SendReport.self) { job, context in
                #expect(job.report == "done" && context.message.headers["a"] == "b" && context.message.priority == 3)
            })
        #expect(attempts.count == count + 2 && attempts.last?.name == "send-report")
        #expect(try await test.jobs.status(ofBatch: batch.id) == nil)
        #expect(!test.zookeeper.nodes.keys.contains { $0.hasPrefix("/queue/jobs/batches/") })
    }

    @Test("A dead letter holds its batch up until it is redriven and done")
    func redriven() async throws {
        let test = try await JobQueue.test()
        let batch = try await test.jobs.push(
            batch: ["a", "b"].map { ChargeCard(order: $0) }, then: SendReport(report: "done"))
        let failing = JobWorker(test.jobs).handle(ChargeCard.self) { job, _ in
            if job.order == "b" { throw RejectedMessage("no") }
        }
        try await test.run(failing)
        #expect(try await test.jobs.status(ofBatch: batch.id)?.unfinished == 1)
        try await test.jobs.queue.redriveAll()
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in }.handle(SendReport.self) { _, _ in })
        #expect(attempts.map(\.name) == ["charge-card", "send-report"])
    }

    @Test("Jobs of a forgotten batch are acknowledged as usual")
    func forgotten() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(
            batch: ["a", "b"].map { ChargeCard(order: $0) }, then: SendReport(report: "done"), lifetime: .seconds(60))
        try await ExpirySweep(test.jobs).removeExpired()
        #expect(test.zookeeper.nodes.keys.contains { $0.hasPrefix("/queue/jobs/batches/") })
        try await test.advance(by: .seconds(61))
        try await ExpirySweep(test.jobs).removeExpired()
        #expect(!test.zookeeper.nodes.keys.contains { $0.hasPrefix("/queue/jobs/batches/") })
        let attempts = try await test.run(JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in })
        #expect(attempts.count == 2 && attempts.allSatisfy { $0.error == nil })
    }

    @Test("An invalid batch is refused before anything is sent")
    func invalid() async throws {
        let test = try await JobQueue.test()
        let (job, last) = (ChargeCard(order: "a"), SendReport(report: "done"))
        func refused(_ body: () async throws -> JobBatch) async {
            do {
                _ = try await body()
                Issue.record("the batch was stored")
            } catch {
                #expect((error as? JobError)?.code == .invalidJob)
            }
        }
        await refused { try await test.jobs.push(batch: [ChargeCard](), then: last) }
        await refused { try await test.jobs.push(batch: [job], then: last, .init(id: "x")) }
        await refused { try await test.jobs.push(batch: [job], then: last, .init(unique: .until(.done))) }
        await refused { try await test.jobs.push(batch: [job], then: last, lastOptions: .init(delay: .seconds(1))) }
        await refused { try await test.jobs.push(batch: [job], then: last, lifetime: .zero) }
        for options in [JobOptions(priority: 5_000), JobOptions(expiresAfter: .zero), JobOptions(group: "")] {
            let error = await #expect(throws: QueueError.self) {
                try await test.jobs.push(batch: [job], then: last, lastOptions: options)
            }
            #expect(error?.code == .invalidArgument)
        }
        let many = (1...5_000).map { ChargeCard(order: "\($0)") }
        let error = await #expect(throws: QueueError.self) { try await test.jobs.push(batch: many, then: last) }
        #expect(error?.code == .payloadTooLarge)
        #expect(!test.zookeeper.nodes.keys.contains { $0.hasPrefix("/queue/jobs/batches/") })
        #expect(try await test.jobs.queue.statistics().totalEnqueued == 0)
    }
}
