import ArgumentParser
import Foundation
import Logging
import ZooKeeper
import ZooKeeperQueue

/// The options of every command that works on a queue.
struct QueueOptions: ParsableArguments {
    @Option(help: "The servers, HOST:PORT,…; a chroot may follow. Default: $ZOOKEEPER_CONNECT, then 127.0.0.1:2181.")
    var connect: String?

    @Option(help: "The path of the queue.")
    var queue = "/queue"

    @Option(help: ArgumentHelp("How long the ensemble waits for a silent client.", valueName: "seconds"))
    var sessionTimeout: Double = 10

    @Option(help: "Digest credentials, USER:PASSWORD. Better in $ZOOKEEPER_AUTH, where other users cannot see them.")
    var auth: String?

    @Option(
        help: "How much to log on stderr: trace, debug, info, notice, warning, error or critical.",
        transform: Self.logLevel)
    var logLevel = Logger.Level.warning

    func validate() throws {
        guard sessionTimeout >= 0.1, sessionTimeout <= 86_400 else {
            throw ValidationError("--session-timeout is a number of seconds from 0.1 to 86400.")
        }
    }

    static func logLevel(_ text: String) throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: text) else { throw ValidationError("\"\(text)\" is no log level.") }
        return level
    }

    static func servers(_ option: String?) -> String {
        option ?? ProcessInfo.processInfo.environment["ZOOKEEPER_CONNECT"] ?? "127.0.0.1:2181"
    }

    /// Connects, and gives the queue to `body`. Closes the session at the end.
    func withQueue<Result>(
        settings: QueueSettings = .init(), _ body: (MessageQueue) async throws -> Result
    ) async throws -> Result {
        var logger = Logger(label: "zkq", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = logLevel
        let credentials = auth ?? ProcessInfo.processInfo.environment["ZOOKEEPER_AUTH"]
        let configuration = try ZooKeeperConfiguration(
            servers: Self.servers(connect), sessionTimeout: .seconds(sessionTimeout),
            authentication: try credentials.map { try .init(parsing: $0) })
        return try await ZooKeeperClient.withClient(configuration: configuration, logger: logger) { [logger] client in
            let queue = try MessageQueue(client, path: self.queue, settings: settings, logger: logger)
            // Without this, a command that waits for messages would wait for ever for servers that are not there.
            do {
                _ = try await client.exists("/", timeout: .seconds(15))
            } catch let error as ZooKeeperError where error.code == .deadlineExceeded {
                throw ToolError(
                    "No ZooKeeper server answers at \(configuration.servers): check --connect, and that a majority of "
                        + "the servers runs (\"zkq dev\" starts one to try).")
            }
            return try await body(queue)
        }
    }
}

/// An error of the tool's own: one clear line.
struct ToolError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
