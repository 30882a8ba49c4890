import Testing
import ZooKeeperJobs
import ZooKeeperQueue
import ZooKeeperTestKit

/// Messages that a worker cannot run: jobs of other releases, damaged jobs, and messages that are no jobs.
struct UnhandledJobTests {
    /// One job in two releases of a program.
    enum Old {
        struct Charge: Job {
            static let name = "charge"
            var cents: Int
        }
    }
    enum New {
        struct Charge: Job {
            static let name = "charge"
            static let version = 2
            var amount: Int
            var currency: String

            init(amount: Int, currency: String) { (self.amount, self.currency) = (amount, currency) }

            static func decode(_ payload: JobPayload) throws -> Charge {
                if payload.version >= 2 { return try payload.decode(Charge.self) }
                return Charge(amount: try payload.decode(Old.Charge.self).cents, currency: "EUR")
            }
        }
        struct Renamed: Job {
            static let name = "send-summary"
            static let formerNames = ["send-report"]
            var report: String
        }
    }

    @Test("An older and a newer program share a queue: the newer one runs the jobs of both")
    func rollingDeployment() async throws {
        let test = try await JobQueue.test()
        try await test.jobs.push(Old.Charge(cents: 999))
        try await test.jobs.push(New.Charge(amount: 5, currency: "CHF"))
        try await test.jobs.push(SendReport(report: "r"))
        try await test.jobs.push(New.Renamed(report: "s"))
        let seen = Collected<String>()
        let old = JobWorker(test.jobs)
            .handle(Old.Charge.self) { job, _ in await seen.add("old \(job.cents)") }
            .handle(SendReport.self) { job, _ in await seen.add("report \(job.report)") }
        let new = JobWorker(test.jobs)
            .handle(New.Charge.self) { job, _ in await seen.add("new \(job.amount) \(job.currency)") }
            .handle(New.Renamed.self) { job, _ in await seen.add("summary \(job.report)") }
        try await test.run(old)
        #expect(await seen.values == ["old 999", "report r"])
        // The old program has passed the others on, and they come back after a delay.
        let attempts = try await test.advance(by: .seconds(2), running: new)
        #expect(attempts.map(\.number) == [2, 2])
        #expect(await seen.values.suffix(2).sorted() == ["new 5 CHF", "summary s"])
        try await test.jobs.push(Old.Charge(cents: 1))
        try await test.run(new)
        #expect(await seen.values.last == "new 1 EUR")
    }

    @Test("A message that no handler accepts becomes a dead letter with the reason, and delays no other job")
    func deadLetters() async throws {
        let test = try await JobQueue.test(.init(maximumDeliveries: 4))
        let queue = test.jobs.queue
        let producer = QueueProducer(queue)
        let hostile: [OutgoingMessage] = [
            .init("not a job"),
            .init("{}", headers: ["zkq-job": "unknown", "zkq-job-id": "1"]),
            .init("{", headers: ["zkq-job": "charge-card", "zkq-job-id": "2"]),
            .init(#"{"order":7}"#, headers: ["zkq-job": "charge-card", "zkq-job-id": "3"]),
            .init("{}", headers: ["zkq-job": "charge-card", "zkq-job-id": "4", "zkq-job-version": "2"]),
            .init("{}", headers: ["zkq-job": "charge-card", "zkq-job-id": "5", "zkq-job-version": "-1"]),
            .init("{}", headers: ["zkq-job": "charge-card", "zkq-job-id": "6", "content-type": "application/cbor"]),
            .init("{}", headers: ["zkq-job": "charge-card", "zkq-job-id": "7", "zkq-job-batch": "../../items/1"]),
            .init("{}", headers: ["zkq-job": "charge-card", "zkq-job-id": "8", "zkq-job-unique": "done ../x"]),
            .init("{}", headers: ["zkq-job": "charge-card"]),
        ]
        try await producer.send(contentsOf: hostile)
        try await test.jobs.push(ChargeCard(order: "good"))
        let worker = JobWorker(test.jobs).handle(ChargeCard.self) { _, _ in }
        let first = try await test.run(worker)
        #expect(first.count == hostile.count + 1 && first.last?.error == nil)
        #expect(first.dropLast().allSatisfy { ($0.error as? JobError)?.code == .unhandled })
        try await test.advance(by: .seconds(600), running: worker)
        let letters = try await queue.deadLetters(limit: 100)
        #expect(letters.count == hostile.count)
        #expect(letters.contains { $0.reason.contains("No handler accepts the job unknown") })
        #expect(
            letters.contains { $0.reason.contains("type mismatch") })
        // The reason says nothing of the payload.
        #expect(!letters.contains { $0.reason.contains("not a job\"") })
    }
}
