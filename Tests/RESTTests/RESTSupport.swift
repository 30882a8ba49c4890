import Logging
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperGateway
import ZooKeeperQueue
import ZooKeeperREST
import ZooKeeperServer

/// Whether a gateway announces transactions and watches, as ours does, or is as plain as ZooKeeper's own.
enum Kind: CaseIterable { case extended, plain }

/// Runs `body` with a gateway for an ensemble, and its address.
func withGateway<Result: Sendable>(
    _ kind: Kind, servers: String, port: Int = 0, sessionTimeout: Duration = .seconds(4),
    _ body: @escaping @Sendable (String) async throws -> Result
) async throws -> Result {
    var zookeeper = try ZooKeeperConfiguration(servers: servers)
    zookeeper.sessionTimeout = sessionTimeout
    var configuration = GatewayConfiguration(port: port, endpoints: [.init(zookeeper: zookeeper)])
    configuration.offersExtensions = kind == .extended
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
        // Whichever ends first: the body, or a gateway that failed.
        return try #require(try await group.next() ?? nil, "the gateway has ended by itself")
    }
}

/// Runs `body` with a store over a gateway.
func withStore<Result>(
    _ kind: Kind, at gateway: String, configure: (inout RESTConfiguration) -> Void = { _ in },
    _ body: (RESTNodeStore) async throws -> Result
) async throws -> Result {
    var configuration = RESTConfiguration(
        gateways: [gateway], guarantee: kind == .plain ? .atLeastOnce : .transactional)
    configuration.sessionTimeout = .seconds(4)
    configuration.pollInterval = .milliseconds(50)
    configure(&configuration)
    return try await RESTNodeStore.withStore(configuration, body)
}

/// Both, for an empty part of the shared server's tree.
func withStore<Result: Sendable>(
    _ kind: Kind, _ name: String = #function, _ body: @escaping @Sendable (RESTNodeStore) async throws -> Result
) async throws -> Result {
    try await withGateway(kind, servers: try await TestServer.address(name)) { gateway in
        try await withStore(kind, at: gateway) { try await body($0) }
    }
}
