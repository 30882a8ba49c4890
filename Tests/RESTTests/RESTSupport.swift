import Logging
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperGateway
import ZooKeeperQueue
import ZooKeeperREST
import ZooKeeperServer

/// A gateway that advertises transactions and watches, or one with ZooKeeper's REST interface alone.
enum GatewayKind: CaseIterable { case extensions, standard }

/// Runs `body` with the address of a gateway to an ensemble.
func withGateway<Result: Sendable>(
    _ kind: GatewayKind, servers: String, port: Int = 0, sessionTimeout: Duration = .seconds(4),
    _ body: @escaping @Sendable (String) async throws -> Result
) async throws -> Result {
    var zookeeper = try ZooKeeperConfiguration(servers: servers)
    zookeeper.sessionTimeout = sessionTimeout
    var configuration = GatewayConfiguration(port: port, endpoints: [.init(zookeeper: zookeeper)])
    configuration.offersExtensions = kind == .extensions
    let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
    var logger = Logger(label: "gateway")
    logger.logLevel = .critical
    let gateway = try Gateway(configuration, logger: logger) { continuation.yield($0) }
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask {
            try await gateway.run()
            return nil
        }
        group.addTask {
            guard let port = await ports.first(where: { _ in true }) else { return nil }
            return try await body("http://127.0.0.1:\(port)")
        }
        defer { group.cancelAll() }
        // Either the body ends first, or the gateway fails.
        return try #require(try await group.next() ?? nil, "The gateway ended before the body.")
    }
}

/// Runs `body` with a store over a gateway.
func withStore<Result>(
    _ kind: GatewayKind, at gateway: String, configure: (inout RESTConfiguration) -> Void = { _ in },
    _ body: (RESTNodeStore) async throws -> Result
) async throws -> Result {
    var configuration = RESTConfiguration(
        gateways: [gateway], guarantee: kind == .standard ? .atLeastOnce : .transactional)
    configuration.sessionTimeout = .seconds(4)
    configuration.pollInterval = .milliseconds(50)
    configure(&configuration)
    return try await RESTNodeStore.withStore(configuration, body)
}

/// Runs `body` with a store over a gateway that serves an empty part of the shared server's tree.
func withStore<Result: Sendable>(
    _ kind: GatewayKind, _ name: String = #function, _ body: @escaping @Sendable (RESTNodeStore) async throws -> Result
) async throws -> Result {
    try await withGateway(kind, servers: try await TestServer.address(name)) { gateway in
        try await withStore(kind, at: gateway) { try await body($0) }
    }
}
