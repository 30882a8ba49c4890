import CoreMetrics
import MetricsTestKit
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperJobs
import ZooKeeperQueue

/// Workers as services, on a real server.
@Suite(.timeLimit(.minutes(2)))
struct JobWorkerTests {
    /// Runs a worker and a recovery until `body` returns, and shuts the worker down gracefully.
    private func serve(
        _ worker: JobWorker, _ jobs: JobQueue, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await testGracefulShutdown { trigger in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                group.addTask { try await QueueRecovery(jobs.queue).run() }
                try await body()
                trigger.triggerGracefulShutdown()
                try await group.waitForAll()
            }
        }
        await jobs.close()
    }

    /// Polls until a condition holds.
    private func eventually(_ what: String, _ condition: @escaping @Sendable () async throws -> Bool) async throws {
        try await withDeadline(what) {
            // A pause between two polls, because no event reports the change.
            while try await !condition() { try await Task.sleep(for: .milliseconds(50)) }
        }
    }

    @Test("A worker runs every job, and a batch of ten at a concurrency of eight has few conflicts")
    func batch() async throws {
        try await withTestClient { client in
            let metrics = TestMetrics()
            let jobs = JobQueue(try MessageQueue(client, metricsFactory: metrics))
            let (started, last) = (Collected<String>(), AsyncStream.makeStream(of: String.self))
            let worker = JobWorker(jobs, concurrency: 8)
                .handle(ChargeCard.self) { job, _ in await started.add(job.order) }
                .handle(SendReport.self) { job, _ in last.continuation.yield(job.report) }
            try await serve(worker, jobs) {
                var reports = last.stream.makeAsyncIterator()
                for round in 1...10 {
                    let batch = (1...10).map { ChargeCard(order: "\(round)-\($0)") }
                    try await jobs.push(batch: batch, then: SendReport(report: "\(round)"))
                    #expect(await reports.next() == "\(round)")
                }
            }
            #expect(await started.values.count == 100)
            let counter = try metrics.expectCounter(
                "zookeeper_jobs_completion_conflicts_total", [("queue", "/queue")])
            print("conflicts in ten batches of ten jobs at a concurrency of eight: \(counter.totalValue)")
            #expect(counter.totalValue < 300)
            #expect(try await client.children(of: "/queue/jobs/batches").names.isEmpty)
        }
    }

    @Test("A type of job has a limit of its own, and other types run beside it")
    func concurrency() async throws {
        try await withTestClient { client in
            let jobs = JobQueue(try MessageQueue(client))
            let counts = Mutex((running: 0, most: 0))
            let (gate, reports) = (AsyncStream.makeStream(of: Void.self), AsyncStream.makeStream(of: Void.self))
            let begun = AsyncStream.makeStream(of: Void.self)
            let passed = Mutex(false)
            let worker = JobWorker(jobs, concurrency: 4)
                .handle(ChargeCard.self, concurrency: 2) { _, _ in
                    counts.withLock { counts in
                        counts.running += 1
                        counts.most = max(counts.most, counts.running)
                    }
                    begun.continuation.yield()
                    if passed.withLock({ !$0 }) { for await _ in gate.stream { break } }
                    counts.withLock { $0.running -= 1 }
                }
                .handle(SendReport.self) { _, _ in reports.continuation.yield() }
            try await serve(worker, jobs) {
                try await jobs.push(contentsOf: (1...4).map { ChargeCard(order: "\($0)") })
                var (begins, ends) = (begun.stream.makeAsyncIterator(), reports.stream.makeAsyncIterator())
                await begins.next()
                await begins.next()
                // Two run, and two wait for their turn, which leaves two handlers for others.
                try await jobs.push(SendReport(report: "beside"))
                await ends.next()
                passed.withLock { $0 = true }
                gate.continuation.finish()
                await begins.next()
                await begins.next()
            }
            #expect(counts.withLock { $0.most } == 2)
            #expect(try await jobs.queue.statistics().ready == 0)
        }
    }

    @Test("Other processes see the running jobs and their progress, until they end")
    func runningJobs() async throws {
        try await withTestClient { client in
            let jobs = JobQueue(try MessageQueue(client))
            let (begun, gate) = (AsyncStream.makeStream(of: Void.self), AsyncStream.makeStream(of: Void.self))
            let worker = JobWorker(jobs).handle(ChargeCard.self) { _, context in
                try await context.progress(0.5)
                begun.continuation.yield()
                for await _ in gate.stream { break }
            }
            try await jobs.queue.createIfNeeded()
            #expect(try await jobs.runningJobs().isEmpty)
            try await serve(worker, jobs) {
                let receipt = try await jobs.push(ChargeCard(order: "o-42"))
                for await _ in begun.stream { break }
                try await eventually("the job is shown") { try await jobs.runningJobs().count == 1 }
                let running = try #require(try await jobs.runningJobs().first)
                #expect(running.id == receipt.id && running.name == "charge-card" && running.attempt == 1)
                #expect(running.progress == 0.5)
                // Odd data of other programs hides no job.
                _ = try await client.create("/queue/jobs/workers/odd", data: [0xFF])
                #expect(try await jobs.runningJobs().count == 1)
                gate.continuation.finish()
                try await eventually("the job is gone") { try await jobs.runningJobs().isEmpty }
            }
            #expect(try await client.children(of: "/queue/jobs/workers").names == ["odd"])
        }
    }

    @Test("At a graceful shutdown, a running job ends, and a waiting one returns without counting")
    func shutdown() async throws {
        try await withTestClient { client in
            let jobs = JobQueue(try MessageQueue(client))
            let (begun, gate) = (AsyncStream.makeStream(of: Void.self), AsyncStream.makeStream(of: Void.self))
            let worker = JobWorker(jobs, concurrency: 2).handle(ChargeCard.self, concurrency: 1) { _, _ in
                begun.continuation.yield()
                for await _ in gate.stream { break }
            }
            try await jobs.push(contentsOf: ["a", "b"].map { ChargeCard(order: $0) })
            try await testGracefulShutdown { trigger in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await worker.run() }
                    for await _ in begun.stream { break }
                    trigger.triggerGracefulShutdown()
                    gate.continuation.finish()
                    try await group.waitForAll()
                }
            }
            for message in try await jobs.queue.peek() { #expect(message.deliveryCount == 1) }
            #expect(try await jobs.queue.statistics().leased == 0)
            await jobs.close()
        }
    }
}
