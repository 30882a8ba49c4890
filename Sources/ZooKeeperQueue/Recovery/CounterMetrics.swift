import CoreMetrics

/// The gauges of a queue's counters, created once.
///
/// | label | dimensions | meaning |
/// |---|---|---|
/// | `zookeeper_queue_counter` | `queue`, `counter` | the value of a ``QueueCounter`` |
/// | `zookeeper_queue_counter_end` | `queue`, `counter` | the limit, at which the counter ends or starts again |
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
