// The code of the gateway's documentation.
import Logging
import ServiceLifecycle
import UnixSignals
import ZooKeeperGateway

func service(_ logger: Logger) async throws {
    // snippet.service
    let gateway = try Gateway(.init(endpoints: [.init(zookeeper: try .init(servers: "127.0.0.1:2181"))]))
    try await ServiceGroup(services: [gateway], gracefulShutdownSignals: [.sigterm], logger: logger).run()
    // snippet.end
}

func gateway(_ logger: Logger) async throws {
    // snippet.gateway
    let gateway = try Gateway(.init(endpoints: [.init(zookeeper: try .init(servers: "127.0.0.1:2181"))]))
    try await ServiceGroup(services: [gateway], logger: logger).run()
    // snippet.end
}
