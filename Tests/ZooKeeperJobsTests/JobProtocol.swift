import Foundation
import Simulation
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

@testable import ZooKeeperJobs

/// One protocol of the jobs, run by a process that suffers faults, and then completed by one that suffers none.
struct JobProtocol: Sendable, CustomStringConvertible {
    let description: String
    /// Runs the protocol, and returns what the process was told.
    let body: @Sendable (JobRunUnderFaults, InMemorySession) async throws -> Void
    /// Returns what is wrong at the end.
    let check: @Sendable (JobRunUnderFaults) async -> [String]

    /// Plays the protocol once.
    ///
    /// - Returns: the calls of the process, and what is wrong.
    func run(_ faults: FaultPlan? = nil) -> (calls: Int, violations: [String]) {
        let run = JobRunUnderFaults()
        let tested = run.simulation.zookeeper.connect("tested", faults: faults)
        do {
            let violations = try run.simulation.run {
                try await body(run, tested)
                tested.clearFaults()
                try await run.work(run.healthy, for: .seconds(90))
                // A session without a process could keep a lease that a fault has left.
                tested.crash()
                try await run.work(run.healthy, for: .seconds(60))
                defer { run.healthy.crash() }
                return await check(run) + run.leftovers
            }
            return (tested.callCount, violations)
        } catch {
            return (tested.callCount, ["the run failed: \(error)"])
        }
    }
}

/// The state of one run.
struct JobRunUnderFaults: Sendable {
    let simulation = Simulation(.fixed)
    /// The messages that handlers were given, as the job's label and the name of the message when it was stored. One
    /// job that was stored twice has two names.
    let handled = Collected<String>()
    /// What the process under test was told.
    let told = Collected<String>()
    let healthy: InMemorySession

    init() { healthy = simulation.zookeeper.connect("healthy") }

    func jobs(_ store: InMemorySession) throws -> JobQueue {
        JobQueue(try MessageQueue(store: store, path: "/queue"))
    }

    /// Runs a worker for all jobs of the tests, and a recovery, for some time.
    func work(_ store: InMemorySession, for time: Duration) async throws {
        let jobs = try jobs(store)
        let worker = worker(jobs)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await worker.run() }
            group.addTask { try? await QueueRecovery(jobs.queue).run() }
            try? await simulation.clock.sleep(for: time)
            group.cancelAll()
        }
        await jobs.close()
    }

    func worker(_ jobs: JobQueue) -> JobWorker {
        JobWorker(jobs, concurrency: 2)
            .handle(ChargeCard.self) { job, context in
                await note("\(job.order)", context.message)
                try await context.pushOnCompletion(SendReport(report: "of \(job.order)"))
            }
            .handle(SendReport.self) { job, context in await note(job.report, context.message) }
    }

    func note(_ label: String, _ message: QueueMessage) async {
        // Without the count of redeliveries, which follows the sequence number.
        let name = message.nodeName.prefix { $0 != "." }
        await handled.add("\(label) \(name)")
    }

    /// How many messages there were with this label.
    func stored(_ label: String) async -> Int {
        Set(await handled.values.filter { $0.hasPrefix("\(label) item") }).count
    }

    /// The nodes that should not be there when all jobs are done.
    var leftovers: [String] {
        let nodes = simulation.zookeeper.nodes.keys.filter { path in
            ["/queue/jobs/batches/", "/queue/items/", "/queue/partial/", "/queue/dead/", "/effects/"]
                .contains { path.hasPrefix($0) }
        }
        return nodes.isEmpty ? [] : ["left behind: \(nodes.sorted())"]
    }
}

extension JobProtocol {
    /// Two jobs of a batch, and its last one. Each of them also pushes a job on its completion.
    private static func batch(
        _ description: String, finish: @escaping @Sendable (JobRunUnderFaults, InMemorySession) async throws -> Void
    ) -> JobProtocol {
        JobProtocol(description: description) { run, store in
            let jobs = try run.jobs(run.healthy)
            try await jobs.push(batch: ["a", "b", "c"].map { ChargeCard(order: $0) }, then: SendReport(report: "last"))
            await jobs.close()
            try await finish(run, store)
        } check: { run in
            var violations: [String] = []
            for label in ["a", "b", "c", "of a", "of b", "of c", "last"] {
                let count = await run.stored(label)
                if count != 1 { violations.append("\(label) was stored \(count) times") }
            }
            return violations
        }
    }

    static let finishBatch = batch("finish the jobs of a batch") { run, store in
        try? await run.work(store, for: .seconds(60))
    }

    /// A negative control: the count of the batch is not in the transaction of the acknowledgement.
    static let finishBatchSeparately = batch("count the jobs of a batch separately") { run, store in
        let jobs = try run.jobs(store)
        var configuration = QueueConsumer.Configuration()
        configuration.pullsOnDemand = true
        let consumer = QueueConsumer(jobs.queue, configuration: configuration)
        var messages = consumer.makeAsyncIterator()
        for _ in 0..<3 {
            guard let message = try? await messages.next(), let job = StoredJob(message.headers) else { break }
            let order = try JSONJobCoder().decode(ChargeCard.self, from: message.payload).order
            await run.note(order, message)
            let follower = try await jobs.message(for: SendReport(report: "of \(order)"))
            guard let membership = job.membership,
                (try? await message.acknowledge(sending: [follower], to: jobs.queue)) != nil
            else { continue }
            guard let step = try? await jobs.finish(membership, deletesBatch: true) else { continue }
            _ = try? await jobs.queue.transaction { transaction in
                for operation in step.operations { transaction.add(operation) }
                if let last = step.last { transaction.send(last, to: jobs.queue) }
            }
        }
        await consumer.close(gracePeriod: .zero)
    }

    static let pushBatch = JobProtocol(description: "push a batch") { run, store in
        let jobs = try run.jobs(store)
        do {
            try await jobs.push(batch: ["a", "b"].map { ChargeCard(order: $0) }, then: SendReport(report: "last"))
            await run.told.add("stored")
        } catch {
            await run.told.add((error as? QueueError)?.code == .outcomeUnknown ? "unknown" : "refused \(error)")
        }
        await jobs.close()
    } check: { run in
        let (told, a, b) = (await run.told.values, await run.stored("a"), await run.stored("b"))
        let last = await run.stored("last")
        let isRight =
            switch told.first {
            case "stored": [a, b, last] == [1, 1, 1]
            case "unknown": [a, b, last] == [1, 1, 1] || [a, b, last] == [0, 0, 0]
            default: [a, b, last] == [0, 0, 0]
            }
        return isRight ? [] : ["the process was told \(told), and there were \([a, b, last]) jobs"]
    }

    private static func unique(
        _ description: String, push: @escaping @Sendable (JobQueue) async throws -> JobReceipt
    ) -> JobProtocol {
        JobProtocol(description: description) { run, store in
            for _ in 0..<2 {
                let jobs = try run.jobs(store)
                do {
                    let receipt = try await push(jobs)
                    await run.told.add(receipt.isDuplicate ? "duplicate" : "stored")
                } catch {
                    await run.told.add((error as? QueueError)?.code == .outcomeUnknown ? "unknown" : "refused")
                }
                await jobs.close()
            }
        } check: { run in
            let (told, count) = (await run.told.values, await run.stored("u"))
            // A push that was told to be a duplicate promises that the job runs.
            let isRight =
                told.contains("stored") || told.contains("duplicate")
                ? count == 1 : told.contains("unknown") ? count <= 1 : count == 0
            var violations = isRight ? [] : ["the process was told \(told), and there were \(count) jobs"]
            let locks = run.simulation.zookeeper.nodes.keys.filter {
                $0.hasPrefix("/queue/jobs/unique/") && $0.contains(":")
            }
            if !locks.isEmpty { violations.append("a lock was left behind: \(locks)") }
            return violations
        }
    }

    static let pushUnique = unique("push a unique job twice") { jobs in
        try await jobs.push(ChargeCard(order: "u"), .init(unique: .until(.done)))
    }

    /// A negative control: the lock is not in the transaction that stores the job.
    static let pushUniqueSeparately = unique("create the lock of a unique job separately") { jobs in
        let path = "/queue/lock"
        try await jobs.queue.createIfNeeded()
        do {
            _ = try await jobs.queue.store.create(path, data: [], mode: .persistent)
        } catch let error as ZooKeeperError where error.code == .nodeExists {
            return JobReceipt(id: "", nodeName: nil, isDuplicate: true)
        } catch let error as ZooKeeperError {
            throw QueueError(error.outcome == .unknown ? .outcomeUnknown : .failed, "")
        }
        return try await jobs.push(ChargeCard(order: "u"))
    }

    private static func schedule(
        _ description: String, push: @escaping @Sendable (JobQueue) async throws -> Duration
    ) -> JobProtocol {
        JobProtocol(description: description) { run, store in
            await withTaskGroup(of: Void.self) { group in
                for session in [store, run.healthy] {
                    group.addTask {
                        guard let jobs = try? run.jobs(session) else { return }
                        while !Task.isCancelled {
                            let pause = (try? await push(jobs)) ?? .seconds(1)
                            try? await run.simulation.clock.sleep(for: pause)
                        }
                    }
                }
                try? await run.simulation.clock.sleep(for: .seconds(185))
                group.cancelAll()
            }
            // Each tick is seen by the later one of two schedules at the latest.
            let jobs = try run.jobs(run.healthy)
            while try await push(jobs) == .zero {}
        } check: { run in
            var violations: [String] = []
            for minute in 1...3 {
                let count = await run.stored("tick \(minute)")
                if count != 1 { violations.append("tick \(minute) has \(count) jobs") }
            }
            return violations
        }
    }

    private static func tick(_ milliseconds: Int64) -> SendReport {
        SendReport(report: "tick \((milliseconds - 1_767_225_600_000) / 60_000)")
    }

    static let tickSchedule = schedule("push the jobs of a schedule from two processes") { jobs in
        let schedule = JobSchedule(jobs, "minutely", try .every(.seconds(60)), missed: .all) { date in
            tick(Int64(date.timeIntervalSince1970 * 1_000))
        }
        return try await schedule.push()
    }

    /// A negative control: the job of a tick is not in the transaction that changes the schedule's node.
    static let tickScheduleSeparately = schedule("push the jobs of a schedule separately") { jobs in
        let (store, path) = (jobs.queue.store, "/queue/jobs/schedules/minutely")
        let now = try await jobs.clock.now().millisecondsSince1970
        guard let node = try await store.getIfPresent(path) else {
            try await jobs.queue.createIfNeeded()
            try await store.createJobFolder("/queue/jobs/schedules", below: "/queue")
            try await store.createIfMissing(path, data: Array("\(now)".utf8))
            return .zero
        }
        let last = Int64(String(decoding: node.data ?? [], as: UTF8.self)) ?? 0
        let next = (last / 60_000 + 1) * 60_000
        guard next <= now else { return .milliseconds(next - now) }
        try await jobs.push(tick(next))
        _ = try await store.set(path, data: Array("\(next)".utf8), version: node.stat.version)
        return .zero
    }
}
