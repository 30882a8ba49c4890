import HTTPTypes
import ZooKeeper
import ZooKeeperQueue

/// The gateway's health and metrics: `/health`, `/health/live`, `/health/ready` and `/metrics`.
struct OperationsResource {
    let endpoints: [Endpoint]
    let authentication: BasicAuthentication
    let counts: RequestCounts
    /// The number of requests in progress.
    let requests: Int
    let version: String

    static func isHealth(_ path: some StringProtocol) -> Bool {
        ["/health", "/health/live", "/health/ready"].contains { path.isIdentical(to: $0) }
    }

    /// Responds to a request for the health or the metrics.
    ///
    /// - Returns: `nil` for any other path.
    func respond(to request: GatewayRequest) async throws -> GatewayResponse? {
        guard Self.isHealth(request.rawPath) || request.rawPath == "/metrics" else { return nil }
        guard request.method == .get || request.method == .head else { return .methodNotAllowed("GET, HEAD") }
        try request.allowQuery([])
        switch request.rawPath {
        case "/health":
            let isReady = await isReady()
            return GatewayResponse(
                isReady ? .ok : .serviceUnavailable, .json,
                ResponseBody(
                    "health", ["status": .text(isReady ? "ready" : "unavailable"), "version": .text(version)]))
        case "/health/live": return Self.text(.ok, "live\n")
        case "/health/ready":
            return await isReady()
                ? Self.text(.ok, "ready\n") : Self.text(.serviceUnavailable, "an ensemble does not respond\n")
        default:
            guard authentication.admits(request.headers) else { return BasicAuthentication.challenge }
            // When an endpoint has its own users, only they may see its metrics.
            let visible = endpoints.filter { $0.authentication.admits(request.headers) }
            return Self.text(.ok, await metrics(visible), type: "text/plain; version=0.0.4")
        }
    }

    /// Returns whether every ensemble answers. Asks the servers, because a client opens its session only at the first
    /// call.
    private func isReady() async -> Bool {
        for endpoint in endpoints {
            guard (try? await endpoint.client.exists("/", timeout: endpoint.timeout(for: endpoint.client))) != nil
            else { return false }
        }
        return true
    }

    private static func text(_ status: HTTPResponse.Status, _ text: String, type: String = "text/plain")
        -> GatewayResponse
    {
        var response = GatewayResponse(status)
        response.headers[.contentType] = type
        response.body = Array(text.utf8)
        return response
    }

    // MARK: Metrics

    /// Returns the metrics in Prometheus' text format.
    private func metrics(_ endpoints: [Endpoint]) async -> String {
        var lines = MetricLines()
        lines.type("zookeeper_gateway_requests_total", "counter", "Requests answered, by class of status.")
        for (status, count) in counts.byClass {
            lines.add("zookeeper_gateway_requests_total", ["status": status], count)
        }
        lines.type("zookeeper_gateway_requests", "gauge", "Requests in progress.")
        lines.add("zookeeper_gateway_requests", [:], requests)
        lines.type(
            "zookeeper_gateway_connected", "gauge", "Whether the endpoint is connected to a server of its ensemble.")
        for endpoint in endpoints {
            let isConnected = endpoint.client.sessionState.phase == .connected
            lines.add("zookeeper_gateway_connected", ["endpoint": endpoint.name], isConnected ? 1 : 0)
        }
        lines.type("zookeeper_gateway_sessions", "gauge", "Open client sessions.")
        for endpoint in endpoints {
            lines.add("zookeeper_gateway_sessions", ["endpoint": endpoint.name], await endpoint.sessions.count)
        }
        lines.type("zookeeper_queue_messages", "gauge", "Messages of the served queues, by state.")
        var readable = MetricLines()
        readable.type(
            "zookeeper_gateway_queue_readable", "gauge", "Whether the messages of a served queue can be counted.")
        var paused = MetricLines()
        var retrying = MetricLines()
        retrying.type(
            "zookeeper_queue_retrying", "gauge",
            "Delayed messages of the served queues that were delivered before; they also count as delayed.")
        var groups = MetricLines()
        groups.type("zookeeper_queue_groups", "gauge", "Message groups of the served queues that have a message.")
        paused.type("zookeeper_queue_paused", "gauge", "Whether an activity of a served queue is paused.")
        for endpoint in endpoints {
            for (path, statistics) in await endpoint.queues.statistics() {
                let queue = ["endpoint": endpoint.name, "queue": path]
                readable.add("zookeeper_gateway_queue_readable", queue, statistics == nil ? 0 : 1)
                guard let statistics else { continue }
                for (state, count) in [
                    ("ready", statistics.ready), ("leased", statistics.leased), ("recovering", statistics.recovering),
                    ("dead_lettered", statistics.deadLettered), ("delayed", statistics.delayed),
                ] {
                    lines.add("zookeeper_queue_messages", queue.merging(["state": state]) { $1 }, count)
                }
                retrying.add("zookeeper_queue_retrying", queue, statistics.retrying)
                groups.add("zookeeper_queue_groups", queue, statistics.groups)
                for activity in QueueAttributes.Activity.allCases {
                    let labels = queue.merging(["activity": activity.rawValue]) { $1 }
                    paused.add("zookeeper_queue_paused", labels, statistics.paused.contains(activity) ? 1 : 0)
                }
            }
        }
        return lines.text + readable.text + retrying.text + groups.text + paused.text
            + PrometheusMetrics.text(of: endpoints.map(\.metrics))
    }
}
