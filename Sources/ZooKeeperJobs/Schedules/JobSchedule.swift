public import Foundation
import Logging
public import ServiceLifecycle
import ZooKeeper
import ZooKeeperQueue

/// A `Service` that pushes a job at each tick of a timetable.
///
/// Run the same schedule in as many processes as you like: no tick gets two jobs. The processes share a node that
/// holds the last tick, and the job is stored in the transaction that changes it. They all go by the ensemble's clock.
///
/// ```swift
/// let nightly = JobSchedule(jobs, "nightly-report", try .cron("0 3 * * *", timeZone: .gmt)) { tick in
///     NightlyReport(date: tick)
/// }
/// ```
///
/// The first process of a schedule begins with the next tick. A timetable can change from one release to the next: the
/// ticks after the last one are then those of the new timetable.
public struct JobSchedule: Service {
    private let jobs: JobQueue
    private let name: String
    private let timetable: JobTimetable
    private let missed: MissedTicks
    private let options: JobOptions
    private let message: @Sendable (Date) async throws -> OutgoingMessage

    /// The longest time between two readings of the ensemble's clock and of the last tick.
    private static let longestSleep = Duration.seconds(60)
    /// How far the last tick can be ahead of a process's reading of the clock, in milliseconds.
    private static let tolerance: Int64 = 60_000

    /// Creates a schedule.
    ///
    /// - Parameters:
    ///   - jobs: stores the jobs.
    ///   - name: the schedule's name, which is the same in all processes: 1 to 128 letters, digits, `-`, `_` and `.`.
    ///   - timetable: when jobs are pushed.
    ///   - missed: what happens to ticks that passed while no process was running. Default: the latest gets a job.
    ///   - options: how the jobs are stored. They can have neither an ``JobOptions/id`` nor ``JobOptions/unique``.
    ///     Default: the options of their type.
    ///   - job: returns the job of a tick.
    public init<J: Job>(
        _ jobs: JobQueue, _ name: String, _ timetable: JobTimetable, missed: MissedTicks = .latest,
        options: JobOptions = J.options, job: @escaping @Sendable (Date) -> J
    ) {
        (self.jobs, self.name, self.timetable, self.missed) = (jobs, name, timetable, missed)
        self.options = options
        message = { try await jobs.message(for: job($0), options) }
    }

    /// Pushes jobs until the service group shuts down or the task is cancelled. Continues when servers do not respond.
    ///
    /// - Throws: ``JobError`` for an invalid name or job; `QueueError` for errors that retrying cannot fix.
    public func run() async throws {
        try validate()
        try await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                var pause = Duration.seconds(1)
                do {
                    pause = try await push()
                } catch is CancellationError {
                    return
                } catch let error where Self.isLasting(error) {
                    throw error
                } catch {
                    // For example, no server responds, or the queue is full. The tick is settled later.
                    jobs.queue.logger.warning(
                        "A schedule could not push a job", metadata: ["schedule": "\(name)", "error": "\(error)"])
                    pause = .seconds(5)
                }
                try? await jobs.queue.store.sleep(for: pause)
            }
        }
    }

    private func validate() throws {
        guard NodeName.isPlain(name), name.utf8.count <= 128 else {
            throw JobError(
                .invalidSchedule, "The name of a schedule must be 1 to 128 letters, digits, \"-\", \"_\" and \".\".")
        }
        guard options.id == nil, options.unique == nil else {
            throw JobError(
                .invalidSchedule,
                "The jobs of a schedule cannot have an ID or be unique, because each tick gets a job of its own.")
        }
    }

    /// Whether an error stays until the program or the queue is changed.
    private static func isLasting(_ error: any Error) -> Bool {
        if let error = error as? JobError { return error.code != .contended }
        let codes: [QueueError.Code] = [
            .invalidArgument, .queueNotFound, .permissionDenied, .unsupportedFormat, .closed, .payloadTooLarge,
        ]
        return (error as? QueueError).map { codes.contains($0.code) } ?? false
    }

    /// Pushes the jobs that are due, and returns how long to wait for the next tick.
    package func push() async throws -> Duration {
        let (queue, path) = (jobs.queue, jobs.tree.schedule(name))
        let now = try await jobs.clock.now().millisecondsSince1970
        let node = try await jobs.translating("reading a schedule") { try await queue.store.getIfPresent(path) }
        // A time in the future comes from a leader whose clock was wrong, or from another program.
        guard let node, let last = Int64(String(decoding: (node.data ?? []).prefix(20), as: UTF8.self)),
            0...(now + Self.tolerance) ~= last
        else {
            if let node, node.stat.dataLength > 0 {
                queue.logger.warning(
                    "Restarting a schedule whose node holds an invalid time", metadata: ["schedule": "\(name)"])
            }
            try await begin(at: now, replacing: node?.stat.version)
            return .zero
        }
        var maximum = MissedTicks.maximumTicks
        while true {
            let plan = missed.plan(after: last, now: now, in: timetable, maximum: maximum)
            guard plan.last > last else {
                guard let next = timetable.tick(after: last) else { return Self.longestSleep }
                return min(Self.longestSleep, .milliseconds(max(1, next - now)))
            }
            do {
                try await push(plan, over: node, at: path)
                return .zero
            } catch let error as QueueError where error.code == .payloadTooLarge && plan.ticks.count > 1 {
                maximum = plan.ticks.count / 2
            }
        }
    }

    private func push(_ plan: MissedTicks.Plan, over node: Node, at path: String) async throws {
        let queue = jobs.queue
        var messages: [OutgoingMessage] = []
        for tick in plan.ticks {
            messages.append(try await message(Date(timeIntervalSince1970: Double(tick) / 1_000)))
        }
        do {
            try await queue.transaction { transaction in
                transaction.add(.set(path, data: Array("\(plan.last)".utf8), version: node.stat.version))
                transaction.send(contentsOf: messages, to: queue)
            }
        } catch let error as QueueError where error.code == .operationRefused {
            // Another process has pushed the job.
            try await jobs.prepare(jobs.tree.schedules, after: error)
        } catch let error as QueueError where error.code == .outcomeUnknown {
            // The node tells what has happened.
            try await jobs.translating("reading a schedule") { try await queue.store.sync(path) }
        }
    }

    /// Creates the node, whose first tick is the next one.
    private func begin(at now: Int64, replacing version: Int32?) async throws {
        let path = jobs.tree.schedule(name)
        let data = Array("\(now)".utf8)
        do {
            try await jobs.queue.transaction { transaction in
                transaction.add(version.map { .set(path, data: data, version: $0) } ?? .create(path, data: data))
            }
        } catch let error as QueueError where error.code == .operationRefused {
            try await jobs.prepare(jobs.tree.schedules, after: error)
        }
    }
}
