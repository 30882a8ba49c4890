import ArgumentParser
import Logging
import ServiceLifecycle
import ZooKeeperGateway

struct GatewayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gateway",
        abstract: "Serve ZooKeeper's REST interface, until SIGINT, SIGTERM or SIGHUP.",
        discussion: """
            Prints "ready http://HOST:PORT" when requests are served: /znodes/v1 and /sessions/v1, as ZooKeeper's own gateway. \
            Anybody who reaches the address may do what the gateway may, unless the configuration names users.
            """)

    @Option(help: "HOST:PORT to listen at. Default: 127.0.0.1:9998.")
    var listen: String?

    @Option(help: "The servers, HOST:PORT,…; a chroot may follow. Default: $ZOOKEEPER_CONNECT, then 127.0.0.1:2181.")
    var connect: String?

    @Option(help: "A file of JSON with endpoints, users, TLS and limits, instead of --connect.")
    var config: String?

    @Option(help: "How much to log on stderr.", transform: QueueOptions.logLevel)
    var logLevel = Logger.Level.warning

    func validate() throws {
        if config != nil, connect != nil { throw ValidationError("Give either --config or --connect.") }
    }

    func run() async throws {
        var logger = Logger(label: "zkq", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = logLevel
        let file =
            try config.map(GatewayFile.read) ?? GatewayFile(endpoints: [.init(servers: QueueOptions.servers(connect))])
        var configuration = try file.configuration(listen: listen)
        configuration.version = Version.transactional
        let scheme = configuration.tls == nil ? "http" : "https"
        let host = configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host
        let gateway = try Gateway(configuration, logger: logger) { port in
            try? StandardOutput.line("ready \(scheme)://\(host):\(port)")
        }
        let group = ServiceGroup(services: [gateway], logger: logger)
        // Requests that are in progress are answered first.
        try await withInterruption(
            isNormalEnd: true, gracePeriod: configuration.responseTimeout,
            stop: { await group.triggerGracefulShutdown() }
        ) { try await group.run() }
    }
}
