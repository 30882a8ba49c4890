// The code of the documentation of the jobs.
import Foundation
import Logging
import ServiceLifecycle
import ZooKeeper
import ZooKeeperJobs
import ZooKeeperQueue

// snippet.job
struct ChargeCard: Job {
    static let name = "charge-card"
    var order: String
    var cents: Int
}
// snippet.end

struct PackOrder: Job {
    static let name = "pack-order"
    var order: String
}

struct RenderPage: Job {
    static let name = "render-page"
    var report: Int
    var page: Int
}

struct SendReport: Job {
    static let name = "send-report"
    var report: Int
}

struct NightlyReport: Job {
    static let name = "nightly-report"
    var date: Date
}

// snippet.middleware
struct Timing: JobMiddleware {
    func run(_ context: JobContext, next: @Sendable (JobContext) async throws -> Void) async throws {
        let start = ContinuousClock.now
        try await next(context)
        print(context.name, ContinuousClock.now - start)
    }
}
// snippet.end

// Stand for the application's code.
func charge(_ order: String, _ cents: Int) async throws {}
struct Response { var status = 200 }

func push(_ queue: MessageQueue) async throws {
    // snippet.push
    let jobs = JobQueue(queue)
    try await jobs.push(ChargeCard(order: "o-42", cents: 999), .init(delay: .seconds(300)))

    let worker = JobWorker(jobs, concurrency: 8)
        .handle(ChargeCard.self) { job, context in try await charge(job.order, job.cents) }
    // snippet.end
    _ = worker
}

func transaction(_ queue: MessageQueue, _ jobs: JobQueue) async throws {
    // snippet.transaction
    let message = try await jobs.message(for: PackOrder(order: "o-42"))
    try await queue.transaction { $0.send(message, to: jobs.queue) }
    // snippet.end
}

func unique(_ jobs: JobQueue) async throws {
    // snippet.unique
    try await jobs.push(ChargeCard(order: "o-42", cents: 999), .init(unique: .until(.done, key: "o-42")))
    // snippet.end
}

func retry(_ response: Response) throws {
    // snippet.retry
    if response.status == 429 { throw RetryJob(after: .seconds(60), reason: "the bank is busy") }
    // snippet.end
}

func batch(_ jobs: JobQueue) async throws {
    // snippet.batch
    let pages = (1...20).map { RenderPage(report: 7, page: $0) }
    try await jobs.push(batch: pages, then: SendReport(report: 7))
    // snippet.end
}

func timetable() throws {
    // snippet.timetable
    let nightly = try JobTimetable.cron("0 3 * * *", timeZone: .gmt)
    // snippet.end
    _ = nightly
}

func schedule(_ jobs: JobQueue) throws {
    // snippet.schedule
    let nightly = JobSchedule(jobs, "nightly-report", try .cron("0 3 * * *", timeZone: .gmt)) { tick in
        NightlyReport(date: tick)
    }
    // snippet.end
    _ = nightly
}

func service(_ zookeeper: ZooKeeperClient, _ queue: MessageQueue, _ jobs: JobQueue, _ logger: Logger) async throws {
    // snippet.worker
    let worker = JobWorker(jobs, concurrency: 8)
        .handle(ChargeCard.self, timeout: .seconds(30), concurrency: 2) { job, context in
            try await charge(job.order, job.cents)
        }
        .use(LoggingMiddleware())
    try await ServiceGroup(services: [zookeeper, QueueRecovery(queue), worker], logger: logger).run()
    // snippet.end
}
