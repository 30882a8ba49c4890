import Logging
import ZooKeeper
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Shows other processes which jobs a worker runs: an ephemeral node whose data is written once a second at most, and
/// only when it has changed. It is information alone, and nothing depends on it.
actor ProgressBoard {
    private struct Entry {
        let id: String
        let name: String
        let attempt: Int
        let start: Duration
        var progress: Double?
    }

    private let queue: MessageQueue
    private let clock: JobClock
    private let path: String
    private let folder: String
    /// The running jobs by the names of their messages. Several messages can have one ID.
    private var running: [String: Entry] = [:]
    /// The jobs that the node shows; `nil` when there is no node.
    private var shown: [RunningJob]?
    private let changes = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// The most jobs that the node shows, so that its data stays small.
    private static let maximumJobs = 1_000
    private static let interval = Duration.seconds(1)

    init(_ jobs: JobQueue) {
        queue = jobs.queue
        clock = jobs.clock
        path = jobs.tree.worker(RandomName.make())
        folder = jobs.tree.workers
    }

    func began(_ job: StoredJob, _ message: QueueMessage) {
        running[message.nodeName] = Entry(
            id: job.id, name: job.name, attempt: message.deliveryCount, start: queue.store.now)
        changes.continuation.yield()
    }

    func report(_ fraction: Double, of message: QueueMessage) {
        // A comparison with NaN is false.
        running[message.nodeName]?.progress = fraction >= 0 ? min(fraction, 1) : 0
        changes.continuation.yield()
    }

    func ended(_ message: QueueMessage) {
        running[message.nodeName] = nil
        changes.continuation.yield()
    }

    /// Writes the node after changes until the task is cancelled, and then removes it.
    func run() async {
        for await _ in changes.stream {
            // Collects changes, because each of them would otherwise be a write.
            guard (try? await queue.store.sleep(for: Self.interval)) != nil else { break }
            do {
                try await show()
            } catch {
                // Another try, after the pause.
                changes.continuation.yield()
                queue.logger.debug("Could not write the progress of jobs", metadata: ["error": "\(error)"])
            }
        }
        guard shown != nil else { return }
        // A separate task, which is not cancelled. It ends after five seconds at most.
        _ = await Task { [queue, path] in await queue.store.deleteIfPossible(path) }.value
    }

    private func show() async throws {
        if running.isEmpty, shown == nil { return }
        let (now, time) = (queue.store.now, try await clock.now())
        let jobs = running.values.prefix(Self.maximumJobs).map { entry in
            RunningJob(
                id: entry.id, name: entry.name, attempt: entry.attempt, startedAt: time.advanced(by: entry.start - now),
                progress: entry.progress)
        }.sorted { $0.id < $1.id }
        // The computed start varies by some milliseconds.
        if let shown, shown.map(\.key) == jobs.map(\.key) { return }
        let data = [UInt8](try JSONEncoder().encode(jobs))
        do {
            _ = try await queue.store.set(path, data: data, version: nil)
        } catch let error as ZooKeeperError where error.code == .noNode {
            // There is no node yet, or it has ended with an earlier session.
            try await queue.store.createJobFolder(folder, below: queue.path)
            _ = try await queue.store.create(path, data: data, mode: .ephemeral)
        }
        shown = jobs
    }
}
