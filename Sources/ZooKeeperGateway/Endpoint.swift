import CoreMetrics
import Logging
import ZooKeeper

/// An ensemble, or a part of it, that a gateway serves.
struct Endpoint: Sendable {
    /// The path in front of the resources; empty for the root.
    let prefix: String
    var name: String { prefix.isEmpty ? "/" : prefix }
    let authentication: BasicAuthentication
    let client: ZooKeeperClient
    let sessions: RESTSessions
    let queues: HTTPQueues
    /// What the library records for the endpoint.
    let metrics: PrometheusMetrics
    let responseTimeout: Duration
    /// The maximum number of bytes of data in one request.
    let maximumBodySize: Int

    init(_ endpoint: GatewayConfiguration.Endpoint, of gateway: GatewayConfiguration, logger: Logger) throws {
        prefix = endpoint.path == "/" ? "" : endpoint.path
        authentication = BasicAuthentication(users: endpoint.users.isEmpty ? gateway.users : endpoint.users)
        var zookeeper = endpoint.zookeeper
        zookeeper.requestTimeout = min(zookeeper.requestTimeout, gateway.responseTimeout)
        metrics = PrometheusMetrics(labels: ["endpoint": endpoint.path])
        let factory = MultiplexMetricsHandler(factories: [MetricsSystem.factory, metrics])
        client = try ZooKeeperClient(configuration: zookeeper, logger: logger, metricsFactory: factory)
        sessions = RESTSessions(zookeeper, maximum: gateway.maximumSessions, logger: logger)
        queues = HTTPQueues(client, gateway, logger: logger, metrics: factory)
        responseTimeout = gateway.responseTimeout
        maximumBodySize = gateway.maximumBodySize
    }

    /// Returns the client whose session runs a request.
    ///
    /// - Parameter session: the ID of a REST session; `nil` for the endpoint's own client.
    /// - Returns: `nil` when there is no such session.
    func client(session: String?) async -> ZooKeeperClient? {
        guard let session else { return client }
        return await sessions.client(of: session)
    }

    /// Returns how long to wait for the ensemble's response. The wait is shorter while no server is connected, because
    /// the caller may try another gateway.
    func timeout(for client: ZooKeeperClient) -> Duration {
        client.sessionState.phase == .connected ? responseTimeout : min(responseTimeout, .seconds(2))
    }

    func close() async {
        await queues.close()
        await sessions.closeAll()
        await client.close()
    }
}
