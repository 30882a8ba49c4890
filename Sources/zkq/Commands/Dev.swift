import ArgumentParser
import ZooKeeperServer

struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start real ZooKeeper servers on loopback, until SIGINT, SIGTERM or SIGHUP.",
        discussion: "Prints one line \"ready HOST:PORT,…\" once they answer and have a leader.")

    @Option(parsing: .unconditional, help: "How many servers.")
    var servers = 1

    @Option(
        parsing: .unconditional, help: "The first server's client port; the others' follow. Default: free ports.")
    var port: Int?

    @Option(help: "Where to keep the data. Default: a temporary folder, deleted at the end.")
    var data: String?

    func validate() throws {
        try check("--servers", servers, from: 1, to: 9)
        try check("--port", port, from: 1, to: 65_536 - servers)
    }

    func run() async throws {
        let configuration = LocalEnsembleConfiguration(servers: servers, firstPort: port, dataDirectory: data)
        try await withInterruption(isNormalEnd: true) {
            try await LocalEnsemble.withEnsemble(configuration) { ensemble in
                try StandardOutput.line("ready \(ensemble.connectString)")
                // Waits until the task is cancelled.
                for await _ in AsyncStream<Never>.makeStream().stream {}
            }
        }
    }
}
