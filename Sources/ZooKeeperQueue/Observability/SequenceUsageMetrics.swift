import CoreMetrics

/// The gauges of a queue's sequence numbers, created once.
///
/// | label | dimensions | meaning |
/// |---|---|---|
/// | `zookeeper_queue_counter` | `queue`, `counter` | the value of a ``SequenceUsage`` |
/// | `zookeeper_queue_counter_end` | `queue`, `counter` | its limit |
struct SequenceUsageMetrics: Sendable {
    private var values: [SequenceUsage.Kind: Gauge] = [:]
    private var limits: [SequenceUsage.Kind: Gauge] = [:]

    init(queue: String, factory: any MetricsFactory) {
        for kind in SequenceUsage.Kind.allCases {
            let dimensions = [("queue", queue), ("counter", kind.rawValue)]
            values[kind] = Gauge(label: "zookeeper_queue_counter", dimensions: dimensions, factory: factory)
            limits[kind] = Gauge(label: "zookeeper_queue_counter_end", dimensions: dimensions, factory: factory)
        }
    }

    func record(_ usage: [SequenceUsage]) {
        for sequence in usage {
            values[sequence.kind]?.record(sequence.value)
            limits[sequence.kind]?.record(sequence.limit)
        }
    }
}
