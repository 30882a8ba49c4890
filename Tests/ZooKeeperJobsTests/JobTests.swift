import Foundation
import Testing
import ZooKeeper
import ZooKeeperJobs
import ZooKeeperQueue
import ZooKeeperTestKit

struct JobTests {
    @Test("A job arrives as the value that was pushed, with its options")
    func push() async throws {
        let test = try await JobQueue.test()
        let receipt = try await test.jobs.push(
            ChargeCard(order: "o-42"), .init(priority: 7, group: "customer-1", headers: ["language": "en"]))
        let pushed = try #require(try await test.pushed(ChargeCard.self).first)
        #expect(pushed.job == ChargeCard(order: "o-42"))
        #expect(pushed.id == receipt.id && !receipt.isDuplicate)
        #expect(pushed.priority == 7 && pushed.group == "customer-1" && pushed.headers["language"] == "en")
        #expect(pushed.dueAt == nil)

        let seen = Collected<ChargeCard>()
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self) { job, context in
                #expect(context.id == receipt.id && context.attempt == 1 && context.name == "charge-card")
                await seen.add(job)
            })
        #expect(attempts.map(\.id) == [receipt.id] && attempts.allSatisfy { $0.error == nil })
        #expect(await seen.values == [ChargeCard(order: "o-42")])
        #expect(try await test.pushed(ChargeCard.self).isEmpty)
    }

    @Test("A date survives as it is, and dates of other programs without a fraction are read")
    func dates() throws {
        struct Report: Codable, Equatable { var date: Date }
        let coder = JSONJobCoder()
        let report = Report(date: Date(timeIntervalSince1970: 1_767_225_600.125))
        let bytes = try coder.encode(report)
        #expect(String(decoding: bytes, as: UTF8.self) == #"{"date":"2026-01-01T00:00:00.125Z"}"#)
        #expect(try coder.decode(Report.self, from: bytes) == report)
        #expect(
            try coder.decode(Report.self, from: Array(#"{"date":"2026-01-01T00:00:00Z"}"#.utf8)).date
                == Date(timeIntervalSince1970: 1_767_225_600))
    }

    @Test("A delayed job runs at its time, and not before")
    func delay() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"), .init(delay: .seconds(300)))
        let worker = JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in }
        #expect(try await test.advance(by: .seconds(299), running: worker).isEmpty)
        #expect(try await test.pushed(ChargeCard.self).first?.dueAt != nil)
        #expect(try await test.advance(by: .seconds(2), running: worker).count == 1)
    }

    @Test("A failed job is retried by the policy of its handler")
    func retry() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"))
        let worker = JobWorker(test.jobs).handle(
            ChargeCard.self, retry: .exponential(initial: .seconds(10), maximum: .seconds(60), jitter: 0)
        ) { _, context in
            if context.attempt < 3 { throw BankIsClosed() }
        }
        #expect(try await test.run(worker).map(\.number) == [1])
        #expect(try await test.advance(by: .seconds(9), running: worker).isEmpty)
        #expect(try await test.advance(by: .seconds(2), running: worker).map(\.number) == [2])
        let last = try await test.advance(by: .seconds(60), running: worker)
        #expect(last.map(\.number) == [3] && last[0].error == nil)
    }

    @Test("A handler chooses its own delay with RetryJob, and its reason is kept")
    func retryJob() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"))
        let worker = JobWorker(test.jobs).handle(ChargeCard.self) { _, context in
            if context.attempt == 1 { throw RetryJob(after: .seconds(120), reason: "the bank is busy") }
            #expect(context.message.failures.map(\.reason) == ["the bank is busy"])
        }
        try await test.run(worker)
        #expect(try await test.advance(by: .seconds(119), running: worker).isEmpty)
        #expect(try await test.advance(by: .seconds(2), running: worker).map(\.number) == [2])
    }

    @Test("A rejected job, and a job whose attempts are used up, become dead letters with the reason")
    func deadLetters() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "rejected"))
        try await test.jobs.push(ChargeCard(order: "failing"))
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self, maximumAttempts: 3) { job, _ in
                if job.order == "rejected" { throw RejectedMessage("no such card") }
                throw BankIsClosed()
            })
        #expect(attempts.count == 4)
        let reasons = try await test.jobs.queue.deadLetters(limit: 10).map(\.reason)
        #expect(reasons.contains { $0.contains("no such card") })
        #expect(reasons.contains { $0.contains("BankIsClosed") })
    }

    @Test("A RetryJob in the last attempt makes a dead letter")
    func retryJobInLastAttempt() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"))
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self, maximumAttempts: 2) { _, _ in
                throw RetryJob(after: .zero, reason: "the bank is busy")
            })
        #expect(attempts.count == 2)
        #expect(try await test.jobs.queue.deadLetters(limit: 10).map(\.reason).first?.contains("busy") == true)
    }

    @Test("What a handler adds to its completion happens with the acknowledgement, and not without it")
    func completion() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"))
        let worker = JobWorker(test.jobs).handle(ChargeCard.self) { job, context in
            try await context.pushOnCompletion(SendReport(report: job.order))
            context.applyOnCompletion([.create("/charged", data: Array(job.order.utf8))])
            if context.attempt == 1 { throw BankIsClosed() }
        }
        let session = test.zookeeper.connect()
        #expect(
            try await test.run(worker.handle(SendReport.self) { _, _ in }).map(\.name) == [
                "charge-card", "charge-card", "send-report",
            ])
        #expect(try await session.get("/charged").data == Array("o-42".utf8))
    }

    @Test("Middleware runs around every handler, the first one outermost, and can change headers before a push")
    func middleware() async throws {
        struct Recorder: JobMiddleware {
            let name: String
            let log: Collected<String>
            func willPush(_ job: inout OutgoingJob) async throws { job.headers["via"] = name }
            func run(_ context: JobContext, next: @Sendable (JobContext) async throws -> Void) async throws {
                await log.add("\(name) begins")
                do {
                    try await next(context)
                } catch {
                    await log.add("\(name) sees an error")
                    throw error
                }
                await log.add("\(name) ends")
            }
        }
        let log = Collected<String>()
        let test = try await JobQueue.test(middleware: [Recorder(name: "push", log: log)])
        try await test.jobs.push(ChargeCard(order: "o-42"))
        #expect(try await test.pushed(ChargeCard.self).first?.headers["via"] == "push")
        try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self) { _, context in
                if context.attempt == 1 { throw BankIsClosed() }
            }.use(Recorder(name: "a", log: log), Recorder(name: "b", log: log)))
        #expect(
            await log.values == [
                "a begins", "b begins", "b sees an error", "a sees an error", "a begins", "b begins", "b ends",
                "a ends",
            ])
    }

    @Test("Invalid jobs and options are refused before anything is sent")
    func invalid() async throws {
        struct Nameless: Job { static let name = "" }
        struct Broken: Job {
            static let name = "broken"
            func encode(to encoder: any Encoder) throws { throw BankIsClosed() }
        }
        let test = try await JobQueue.test()
        func code(_ body: () async throws -> Void) async -> JobError.Code? {
            do {
                try await body()
                return nil
            } catch {
                return (error as? JobError)?.code
            }
        }
        #expect(await code { try await test.jobs.push(Nameless()) } == .invalidJob)
        #expect(await code { try await test.jobs.push(Broken()) } == .encodingFailed)
        let job = ChargeCard(order: "o-42")
        #expect(await code { try await test.jobs.push(job, .init(headers: ["zkq-job": "x"])) } == .invalidJob)
        #expect(await code { try await test.jobs.push(job, .init(headers: ["Content-Type": "x"])) } == .invalidJob)
        #expect(await code { try await test.jobs.push(job, .init(unique: .within(.zero))) } == .invalidJob)
        #expect(
            await code { try await test.jobs.push(job, .init(unique: .within(.seconds(1), key: ""))) } == .invalidJob)
        let long = String(repeating: "x", count: 181)
        #expect(await code { try await test.jobs.push(job, .init(unique: .until(.done, key: long))) } == .invalidJob)
        #expect(await code { _ = try await test.jobs.message(for: job, .init(unique: .until(.done))) } == .invalidJob)
        #expect(await code { try await test.jobs.push(contentsOf: [job], .init(id: "x")) } == .invalidJob)
        #expect(await code { _ = try await test.run(JobWorker(test.jobs)) } == .invalidWorker)
        #expect(
            await code {
                try await test.run(
                    JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in }.handle(ChargeCard.self) { _, _ in })
            } == .invalidWorker)
        #expect(try await test.jobs.queue.statistics().totalEnqueued == 0)
    }

    @Test("Several jobs are pushed in their order")
    func pushMany() async throws {
        let test = try await JobQueue.test(.init(maximumBatchSize: 8))
        let receipts = try await test.jobs.push(contentsOf: (1...20).map { ChargeCard(order: "\($0)") })
        #expect(Set(receipts.map(\.id)).count == 20)
        #expect(try await test.pushed(ChargeCard.self).map(\.job.order) == (1...20).map { "\($0)" })
    }

    @Test("A message for a handler's test can be made with any count of deliveries, and be settled")
    func testMessage() async throws {
        let message = try await QueueMessage.test(.init("hello", headers: ["a": "b"], id: "x"), deliveryCount: 4)
        #expect(message.payload == Array("hello".utf8) && message.headers == ["a": "b"] && message.id == "x")
        #expect(message.deliveryCount == 4 && message.leaseState == .held)
        try await message.acknowledge()
        #expect(message.leaseState == .settled)
        await #expect(throws: QueueError.self) { try await message.acknowledge() }
    }

    @Test("Jobs of a full queue can end, also those that push one job each")
    func fullQueue() async throws {
        let test = try await JobQueue.test(.init(capacity: .init(messages: 4)))
        for order in 1...4 { try await test.jobs.push(ChargeCard(order: "\(order)")) }
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self) { job, context in
                try await context.pushOnCompletion(SendReport(report: job.order))
            }.handle(SendReport.self) { _, _ in })
        #expect(attempts.count == 8 && attempts.allSatisfy { $0.error == nil })
    }

    @Test("A job whose last attempt did not end becomes a dead letter before another one begins")
    func lastAttemptTimesOut() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"))
        let begun = Collected<Int>()
        let clock = test.clock
        let worker = JobWorker(test.jobs).handle(ChargeCard.self, timeout: .seconds(1), maximumAttempts: 2) {
            _, context in
            await begun.add(context.attempt)
            try await clock.sleep(for: .seconds(60))
        }
        let run = Task { try await test.run(worker) }
        while try await test.jobs.queue.statistics().deadLettered == 0 { await clock.advance(by: .seconds(1)) }
        _ = try await run.value
        #expect(await begun.values == [1, 2])
        #expect(try await test.jobs.queue.deadLetters(limit: 1).first?.reason.contains("did not end") == true)
    }

    @Test("A handler may settle its message itself")
    func settledByHandler() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(ChargeCard(order: "o-42"))
        let attempts = try await test.run(
            JobWorker(test.jobs).handle(ChargeCard.self) { _, context in try await context.message.acknowledge() })
        #expect(attempts.map(\.number) == [1] && attempts[0].error == nil)
    }
}
