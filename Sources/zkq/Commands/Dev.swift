import ArgumentParser
import ZooKeeperServer

struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run real ZooKeeper servers on loopback, until SIGINT, SIGTERM or SIGHUP.",
        discussion: "Prints one line \"ready HOST:PORT,…\" when the servers respond and have a leader.")

    @Option(parsing: .unconditional, help: "The number of servers.")
    var servers = 1

    @Option(
        parsing: .unconditional,
        help: "The client port of the first server. The other servers use the next ports. Default: free ports.")
    var port: Int?

    @Option(help: "The data directory. Default: a temporary one, which is deleted at the end.")
    var data: String?

    @Flag(
        help: ArgumentHelp(
            "Also accept TLS connections, from clients with a certificate.",
            discussion: """
                Then prints a second line, "secure HOST:PORT,…", and a third one with the options with which other \
                commands connect to it.
                """))
    var tls = false

    func validate() throws {
        try check("--servers", servers, from: 1, to: 9)
        try check("--port", port, from: 1, to: 65_536 - servers)
    }

    func run() async throws {
        var configuration = LocalEnsembleConfiguration(servers: servers, firstPort: port, dataDirectory: data)
        configuration.usesTLS = tls
        try await withInterruption(isNormalEnd: true) { [configuration] in
            try await LocalEnsemble.withEnsemble(configuration) { ensemble in
                try StandardOutput.line("ready \(ensemble.connectString)")
                if let addresses = ensemble.secureConnectString, let certificates = ensemble.certificates {
                    try StandardOutput.line("secure \(addresses)")
                    try StandardOutput.line(
                        "options --tls-ca \(certificates.authority) --tls-cert \(certificates.clientCertificate) "
                            + "--tls-key \(certificates.clientKey)")
                }
                // Waits until the task is cancelled.
                for await _ in AsyncStream<Never>.makeStream().stream {}
            }
        }
    }
}
