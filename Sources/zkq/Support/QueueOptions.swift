import ArgumentParser
import Glibc
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
            The servers, HOST:PORT,…[/CHROOT], or the address of a REST gateway, http://HOST:PORT. Default: \
            $ZOOKEEPER_CONNECT, or 127.0.0.1:2181.
            """)
    var connect: String?

    @Flag(
        help: """
            Allow a gateway without transactions, such as Apache's. No message is lost, but a message may be delivered \
            twice.
            """)
    var atLeastOnce = false

    @Option(help: "The path of the queue.")
    var queue = "/queue"

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The session timeout: how long the ensemble waits for a silent client.", valueName: "seconds"))
    var sessionTimeout: Double = 10

    @Option(
        help:
            """
            Digest credentials, or those of a gateway, USER:PASSWORD. Prefer $ZOOKEEPER_AUTH, which other users cannot \
            see.
            """
    )
    var auth: String?

    @OptionGroup(title: "Transport")
    var transport: TransportOptions

    @Option(
        help: "The log level on stderr: trace, debug, info, notice, warning, error or critical.",
        transform: Self.logLevel)
    var logLevel = Logger.Level.warning

    func validate() throws { try check("--session-timeout", sessionTimeout, from: 0.1, to: 86_400, unit: "seconds") }

    static func logLevel(_ text: String) throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: text) else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("The log level must be one of \(levels), not \"\(text)\".")
        }
        return level
    }

    static func servers(_ option: String?) -> String {
        option ?? ProcessInfo.processInfo.environment["ZOOKEEPER_CONNECT"] ?? "127.0.0.1:2181"
    }

    /// Connects, and passes the queue to `body`. Closes the session at the end.
    ///
    /// - Throws: ``ToolError`` when no server responds, and when the queue is missing and `createIfMissing` is
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
                        "The gateway does not support transactions and watches, so a message may be delivered twice. "
                            + "Use \"zkq gateway\", or accept that with --at-least-once.")
                }
                return try await body(queue)
            }
        }
        let configuration = try ZooKeeperConfiguration(
            servers: servers, transport: transport.value, sessionTimeout: .seconds(sessionTimeout),
            authentication: try credentials.map { try .init(parsing: $0) })
        return try await ZooKeeperClient.withClient(configuration: configuration, logger: logger) { [logger] client in
            let queue = try MessageQueue(client, path: self.queue, createIfMissing: createIfMissing, logger: logger)
            try checkLength(chroot: configuration.chroot)
            // Without this check, a command that waits for messages would wait for ever for servers that do not exist.
            do {
                try await checkPresence(createIfMissing) { try await client.exists($0, timeout: .seconds(15)) }
            } catch let error as ZooKeeperError where error.code == .deadlineExceeded {
                throw ToolError(
                    "No ZooKeeper server responds at \(configuration.servers). Check --connect, and whether a majority "
                        + "of the servers is up. \"zkq dev\" starts a local server.")
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
                "The path of the queue has \(length) bytes with its chroot, but the limit is \(limit). Choose a "
                    + "shorter path.")
        }
    }

    /// Checks that a server responds, and that the queue exists unless the command creates it. Without this check, some
    /// commands would take a missing queue for an empty one.
    private func checkPresence(_ createIfMissing: Bool, exists: (String) async throws -> Stat?) async throws {
        let stat = try await exists(createIfMissing ? "/" : queue)
        guard createIfMissing || stat != nil else {
            throw ToolError("There is no queue at \(queue). Check --queue, or create the queue with \"zkq put\".")
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
            throw ToolError("The credentials must have the form USER:PASSWORD.")
        }
        return configuration
    }
}

/// An error of the tool, printed as one line.
struct ToolError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }

    /// Creates the error for a file that cannot be read. Opens it again, because Foundation does not report the reason.
    init(unreadableFile file: String, of option: String) {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        defer { if descriptor >= 0 { close(descriptor) } }
        var byte: UInt8 = 0
        let hasFailed = descriptor < 0 || read(descriptor, &byte, 1) < 0
        let reason = hasFailed ? StandardStreams.lastError : "it is not a regular file"
        self.init("Cannot read the file \(file): \(reason). Check \(option).")
    }
}
