import CoreMetrics
import Synchronization
import ZooKeeperQueue

/// The metrics of the jobs of one queue. *Operating*, an article of the target `ZooKeeperQueue`, has a table of them.
final class JobMetrics: Sendable {
    /// The metrics of one type of job. There are as many as the program has types.
    struct PerType: Sendable {
        let pushed: Counter
        let handled: Counter
        let failed: Counter
        let duration: Timer
    }

    /// Completions that were tried again, because another job of the same batch was completed at the same time.
    let conflicts: Counter
    /// Messages that no handler accepts.
    let unhandled: Counter
    private let queue: String
    private let factory: any MetricsFactory
    private let types = Mutex<[String: PerType]>([:])

    init(_ queue: MessageQueue) {
        (self.queue, factory) = (queue.path, queue.metricsFactory)
        let dimensions = [("queue", queue.path)]
        conflicts = Counter(
            label: "zookeeper_jobs_completion_conflicts_total", dimensions: dimensions, factory: factory)
        unhandled = Counter(label: "zookeeper_jobs_unhandled_total", dimensions: dimensions, factory: factory)
    }

    /// Returns the metrics of a type.
    ///
    /// - Parameter name: the ``Job/name`` of a type of this program, and never a name from a message, because any
    ///   program can store messages with any names.
    func type(_ name: String) -> PerType {
        types.withLock { types in
            if let type = types[name] { return type }
            let dimensions = [("queue", queue), ("job_type", name)]
            func counter(_ name: String) -> Counter {
                Counter(label: "zookeeper_jobs_\(name)_total", dimensions: dimensions, factory: factory)
            }
            let type = PerType(
                pushed: counter("pushed"), handled: counter("handled"), failed: counter("failed"),
                duration: Timer(
                    label: "zookeeper_jobs_handler_duration_seconds", dimensions: dimensions, factory: factory))
            types[name] = type
            return type
        }
    }
}
