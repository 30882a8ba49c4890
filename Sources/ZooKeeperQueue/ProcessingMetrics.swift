import CoreMetrics

/// The counters of what this process does with messages, created once for each queue.
///
/// | label | dimensions | meaning |
/// |---|---|---|
/// | `zookeeper_queue_failed_deliveries` | `queue` | deliveries whose message was requeued with a reason |
/// | `zookeeper_queue_handler_timeouts` | `queue` | handlers that did not end within their time limit |
/// | `zookeeper_queue_expired` | `queue` | expired messages that were moved to the dead letters or deleted |
struct ProcessingMetrics: Sendable {
    let failedDeliveries: Counter
    let handlerTimeouts: Counter
    let expired: Counter

    init(queue: String, factory: any MetricsFactory) {
        func counter(_ name: String) -> Counter {
            Counter(label: "zookeeper_queue_\(name)", dimensions: [("queue", queue)], factory: factory)
        }
        failedDeliveries = counter("failed_deliveries")
        handlerTimeouts = counter("handler_timeouts")
        expired = counter("expired")
    }
}
