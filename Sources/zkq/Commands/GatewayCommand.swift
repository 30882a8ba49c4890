import ArgumentParser
import Logging
import ServiceLifecycle
import ZooKeeperGateway

struct GatewayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gateway",
        abstract: "Serve ZooKeeper's REST interface, until SIGINT, SIGTERM or SIGHUP.",
        discussion: """
            Prints "ready http://HOST:PORT" when it accepts requests. Serves /znodes/v1 and /sessions/v1, as Apache's \
            gateway does, and the queue's own interface, /queues/v1. Unless the configuration names users, every \
            client that can connect has the gateway's permissions.
            """)

    @Option(help: "The address to listen on, HOST:PORT. Default: 127.0.0.1:9998.")
    var listen: String?

    @Option(help: "The servers, HOST:PORT,…[/CHROOT]. Default: $ZOOKEEPER_CONNECT, or 127.0.0.1:2181.")
    var connect: String?

    @Option(help: "A JSON file with endpoints, users, TLS and limits. Replaces --connect.")
    var config: String?

    @Option(
        help: "The log level on stderr: trace, debug, info, notice, warning, error or critical.",
        transform: QueueOptions.logLevel)
    var logLevel = Logger.Level.warning

    func validate() throws {
        if config != nil, connect != nil {
            throw ValidationError("--config cannot be combined with --connect, because the file names the servers.")
        }
    }

    func run() async throws {
        var logger = Logger(label: "zkq", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = logLevel
        let file =
            try config.map(GatewayFile.read) ?? GatewayFile(endpoints: [.init(servers: QueueOptions.servers(connect))])
        var configuration = try file.configuration(listen: listen)
        configuration.version = Version.full
        let scheme = configuration.tls == nil ? "http" : "https"
        let host = configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host
        let gateway = try Gateway(configuration, logger: logger) { port in
            try? StandardOutput.line("ready \(scheme)://\(host):\(port)")
        }
        let group = ServiceGroup(services: [gateway], logger: logger)
        // The gateway completes the requests in progress first.
        try await withInterruption(
            isNormalEnd: true, gracePeriod: configuration.responseTimeout,
            stop: { await group.triggerGracefulShutdown() }
        ) { try await group.run() }
    }
}
