import CoreMetrics

/// A queue's counters as gauges, made once.
///
/// | label | dimensions | meaning |
/// |---|---|---|
/// | `zookeeper_queue_counter` | `queue`, `counter` | how far a ``QueueCounter`` is |
/// | `zookeeper_queue_counter_end` | `queue`, `counter` | where it ends or begins anew |
struct CounterMetrics: Sendable {
    private var values: [QueueCounter.Kind: Gauge] = [:]
    private var ends: [QueueCounter.Kind: Gauge] = [:]

    init(queue: String, factory: any MetricsFactory) {
        for kind in QueueCounter.Kind.allCases {
            let dimensions = [("queue", queue), ("counter", kind.rawValue)]
            values[kind] = Gauge(label: "zookeeper_queue_counter", dimensions: dimensions, factory: factory)
            ends[kind] = Gauge(label: "zookeeper_queue_counter_end", dimensions: dimensions, factory: factory)
        }
    }

    func record(_ counters: [QueueCounter]) {
        for counter in counters {
            values[counter.kind]?.record(counter.value)
            ends[counter.kind]?.record(counter.end)
        }
    }
}
