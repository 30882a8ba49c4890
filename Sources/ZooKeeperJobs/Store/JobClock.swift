import Synchronization
import ZooKeeper
import ZooKeeperQueue

/// The ensemble's clock, as far as one process knows it. It is read every ten seconds at most, because reading it
/// is a write.
final class JobClock: Sendable {
    private let queue: MessageQueue
    private let reading = Mutex<(time: EnsembleTime, at: Duration)?>(nil)
    private static let maximumAge = Duration.seconds(10)

    init(_ queue: MessageQueue) { self.queue = queue }

    /// Returns the time by the ensemble's clock. It can be late by the time that the last reading took.
    func now() async throws -> EnsembleTime {
        let now = queue.store.now
        if let known = reading.withLock({ $0 }), now - known.at < Self.maximumAge {
            return known.time.advanced(by: now - known.at)
        }
        let time: EnsembleTime
        do {
            time = try await queue.readClock()
        } catch let error as QueueError where error.code == .queueNotFound {
            // The first call of all may come before the queue exists.
            try await queue.prepare()
            time = try await queue.readClock()
        }
        reading.withLock { $0 = (time, queue.store.now) }
        return time
    }
}
