import ArgumentParser
import Logging
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The options of every command that works on a queue.
struct QueueOptions: ParsableArguments {
    @Option(
        help: """
            The servers, HOST:PORT,…; a chroot may follow. Or the address of a REST gateway, http://HOST:PORT. Default: \
            $ZOOKEEPER_CONNECT, then 127.0.0.1:2181.
            """)
    var connect: String?

    @Flag(
        help: """
            Also with a gateway that has no transactions, such as Apache's: nothing is lost, and a message may come twice.
            """)
    var atLeastOnce = false

    @Option(help: "The path of the queue.")
    var queue = "/queue"

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("How long the ensemble waits for a silent client.", valueName: "seconds"))
    var sessionTimeout: Double = 10

    @Option(
        help:
            "Digest credentials, or a gateway's, USER:PASSWORD. Better in $ZOOKEEPER_AUTH, where other users cannot see them."
    )
    var auth: String?

    @Option(
        help: "How much to log on stderr: trace, debug, info, notice, warning, error or critical.",
        transform: Self.logLevel)
    var logLevel = Logger.Level.warning

    func validate() throws { try check("--session-timeout", sessionTimeout, from: 0.1, to: 86_400, unit: "seconds") }

    static func logLevel(_ text: String) throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: text) else { throw ValidationError("\"\(text)\" is no log level.") }
        return level
    }

    static func servers(_ option: String?) -> String {
        option ?? ProcessInfo.processInfo.environment["ZOOKEEPER_CONNECT"] ?? "127.0.0.1:2181"
    }

    /// Connects, and passes the queue to `body`. Closes the session at the end.
    ///
    /// - Throws: ``ToolError`` when no server answers, and when the queue is missing and `createIfMissing` is
    ///   `false`; and the errors of `body`.
    func withQueue<Result>(
        createIfMissing: Bool = true, _ body: (MessageQueue) async throws -> Result
    ) async throws -> Result {
        var logger = Logger(label: "zkq", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = logLevel
        let credentials = auth ?? ProcessInfo.processInfo.environment["ZOOKEEPER_AUTH"]
        let servers = Self.servers(connect)
        if servers.hasPrefix("http://") || servers.hasPrefix("https://") {
            return try await RESTNodeStore.withStore(rest(servers, credentials), logger: logger) { [logger] store in
                let queue = try MessageQueue(
                    store: store, path: self.queue, createIfMissing: createIfMissing, logger: logger)
                try checkLength()
                do {
                    try await checkPresence(createIfMissing) { try await store.exists($0) }
                } catch let error as ZooKeeperError where error.code == .unimplemented && !atLeastOnce {
                    throw ToolError(
                        "The gateway has no transactions and watches, without which a message may come twice: allow that with "
                            + "--at-least-once, or use a gateway that has them (\"zkq gateway\").")
                }
                return try await body(queue)
            }
        }
        let configuration = try ZooKeeperConfiguration(
            servers: servers, sessionTimeout: .seconds(sessionTimeout),
            authentication: try credentials.map { try .init(parsing: $0) })
        return try await ZooKeeperClient.withClient(configuration: configuration, logger: logger) { [logger] client in
            let queue = try MessageQueue(client, path: self.queue, createIfMissing: createIfMissing, logger: logger)
            try checkLength(chroot: configuration.chroot)
            // Without this check, a command that waits for messages would wait for ever for servers that do not exist.
            do {
                try await checkPresence(createIfMissing) { try await client.exists($0, timeout: .seconds(15)) }
            } catch let error as ZooKeeperError where error.code == .deadlineExceeded {
                throw ToolError(
                    "No ZooKeeper server answers at \(configuration.servers): check --connect, and that a majority of "
                        + "the servers runs (\"zkq dev\" starts one to try).")
            }
            return try await body(queue)
        }
    }
}

extension QueueOptions {
    /// Refuses a path of which a few hundred would not fit into one request, because `purge` sends
    /// that many. Every command checks this.
    private func checkLength(chroot: String = "") throws {
        let (length, limit) = (chroot.utf8.count + queue.utf8.count, 512)
        guard length <= limit else {
            throw ToolError(
                "The path of the queue has \(length) bytes, its chroot included, and the limit is \(limit): choose a shorter one."
            )
        }
    }

    /// Checks that a server answers, and that the queue exists unless the command creates it. Without this check, some
    /// commands would take a missing queue for an empty one.
    private func checkPresence(_ createIfMissing: Bool, exists: (String) async throws -> Stat?) async throws {
        let stat = try await exists(createIfMissing ? "/" : queue)
        guard createIfMissing || stat != nil else {
            throw ToolError("There is no queue at \(queue): check --queue; \"zkq put\" creates one.")
        }
    }

    private func rest(_ addresses: String, _ credentials: String?) throws -> RESTConfiguration {
        var configuration = RESTConfiguration(
            gateways: addresses.split(separator: ",").map(String.init),
            guarantee: atLeastOnce ? .atLeastOnce : .transactional)
        configuration.sessionTimeout = .seconds(max(1, sessionTimeout.rounded()))
        // An interactive command must not wait for ever for a gateway that does not exist.
        configuration.requestTimeout = .seconds(15)
        if let words = credentials?.split(separator: ":", maxSplits: 1), words.count == 2 {
            configuration.credentials = .init(user: String(words[0]), password: String(words[1]))
        } else if credentials != nil {
            throw ToolError("Credentials are USER:PASSWORD.")
        }
        return configuration
    }
}

/// An error of the tool, as one clear line.
struct ToolError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
