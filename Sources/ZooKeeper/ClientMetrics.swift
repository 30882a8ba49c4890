import CoreMetrics

/// The metrics of a client, created once with it. The tasks of callers record them, and so does the connection's queue;
/// the threads of the transport never do.
///
/// | label | kind | meaning |
/// |---|---|---|
/// | `zookeeper_client_requests_total` | counter, `operation` | requests that ended, whatever their result |
/// | `zookeeper_client_failures_total` | counter, `operation` | failures, without expected errors (`exists` of no node) |
/// | `zookeeper_client_request_duration_seconds` | timer, `operation` | time from the call to its result |
/// | `zookeeper_client_in_flight` | gauge | requests that were sent and have no response yet |
/// | `zookeeper_client_reconnections_total` | counter | connections that were restored |
/// | `zookeeper_client_expirations_total` | counter | sessions that expired or that the ensemble refused |
struct ClientMetrics: Sendable {
    private struct PerOperation: Sendable {
        let requests: Counter
        let failures: Counter
        let latency: Timer
    }
    private let operations: [String: PerOperation]
    let inFlight: Gauge
    let reconnections: Counter
    let expirations: Counter

    init(factory: any MetricsFactory) {
        var operations: [String: PerOperation] = [:]
        for name in Request.names {
            let dimensions = [("operation", name)]
            operations[name] = PerOperation(
                requests: Counter(label: "zookeeper_client_requests_total", dimensions: dimensions, factory: factory),
                failures: Counter(label: "zookeeper_client_failures_total", dimensions: dimensions, factory: factory),
                latency: Timer(
                    label: "zookeeper_client_request_duration_seconds", dimensions: dimensions, factory: factory))
        }
        self.operations = operations
        inFlight = Gauge(label: "zookeeper_client_in_flight", factory: factory)
        reconnections = Counter(label: "zookeeper_client_reconnections_total", factory: factory)
        expirations = Counter(label: "zookeeper_client_expirations_total", factory: factory)
    }

    func ended(_ name: String, after duration: Duration, failed: Bool, inFlight count: Int) {
        guard let operation = operations[name] else { return }
        operation.requests.increment()
        if failed { operation.failures.increment() }
        let (seconds, attoseconds) = duration.components
        operation.latency.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        inFlight.record(Double(count))
    }
}
