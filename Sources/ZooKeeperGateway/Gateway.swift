import Glibc
import HTTPTypes
import HummingbirdCore
import HummingbirdTLS
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
public import ServiceLifecycle
import ZooKeeper

/// A service that gives programs access to ZooKeeper and its queues over HTTP.
///
/// It serves ZooKeeper's REST interface (specification version 2: `/znodes/v1` and `/sessions/v1`) and the queue's
/// interface (`/queues/v1`, see <doc:QueueOverHTTP>).
///
/// ```swift
/// let gateway = try Gateway(.init(endpoints: [.init(zookeeper: try .init(servers: "127.0.0.1:2181"))]))
/// try await ServiceGroup(services: [gateway], logger: logger).run()
/// ```
///
/// The gateway answers as Apache's gateway does, because existing clients depend on that. <doc:RestInterface> lists the
/// differences. By default it listens at 127.0.0.1.
public struct Gateway: Service {
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let onReady: @Sendable (_ port: Int) async -> Void

    /// Creates a gateway. Opens nothing before ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: where the gateway listens, what it serves, and its limits.
    ///   - logger: receives log messages, which never contain data, credentials or session IDs.
    ///   - onReady: called with the port when the gateway begins to serve requests.
    /// - Throws: ``GatewayError`` for a setting outside its limits.
    public init(
        _ configuration: GatewayConfiguration, logger: Logger = Logger(label: "zookeeper.gateway"),
        onReady: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        self.logger = logger
        self.onReady = onReady
    }

    /// Serves requests until the service group shuts down or the task is cancelled.
    ///
    /// Requests that are in progress are answered first. Then all sessions are closed.
    ///
    /// - Throws: `ZooKeeperError` for an invalid ZooKeeper configuration, ``GatewayError`` for an address at which the
    ///   gateway cannot listen, and other errors of the network and of files, such as a certificate that cannot be
    ///   read.
    public func run() async throws {
        let endpoints = try configuration.endpoints.map { try Endpoint($0, of: configuration, logger: logger) }
        do {
            let server = try server(endpoints)
            try await withGracefulShutdownHandler {
                try await server.run()
            } onGracefulShutdown: {
                // Otherwise the server would wait for requests that wait for messages.
                Task { for endpoint in endpoints { await endpoint.queues.stop() } }
            }
        } catch {
            for endpoint in endpoints { await endpoint.close() }
            throw listeningError(error) ?? error
        }
        for endpoint in endpoints { await endpoint.close() }
    }

    /// Returns the error for an address at which the gateway cannot listen; `nil` for every other error.
    private func listeningError(_ error: any Error) -> GatewayError? {
        guard let code = (error as? IOError)?.errnoCode else { return nil }
        let address = "\(configuration.host):\(configuration.port)"
        return switch code {
        case EADDRINUSE: GatewayError(description: "The address \(address) is in use. Listen at another one.")
        case EADDRNOTAVAIL:
            GatewayError(description: "This machine does not have the address \(address). Listen at another one.")
        case EACCES:
            GatewayError(description: "The permission to listen at \(address) is missing. Use a port above 1023.")
        default: nil
        }
    }

    /// Builds the HTTP server without the Hummingbird framework. The framework needs all of Foundation, which makes a
    /// statically linked program three times as large.
    private func server(_ endpoints: [Endpoint]) throws -> any Service {
        let responder = GatewayResponder(configuration, endpoints, logger)
        let bodyTimeout = configuration.bodyTimeout
        var http = HTTP1Channel.Configuration(
            // Two seconds longer than the timeout that answers a late body with 408, because that response must still
            // arrive.
            additionalChannelHandlers: [RequestGuard.Installer(bodyTimeout: bodyTimeout + .seconds(2))],
            idleTimeout: .nanoseconds(Int64(configuration.idleTimeout / .nanoseconds(1))))
        http.httpDecoder = .init(
            maxHeaderFieldSize: configuration.maximumHeaderSize, maxHeaderListSize: configuration.maximumHeaderSize,
            maxHeaderFieldCount: 100)
        var server = HTTPServerBuilder.http1(configuration: http)
        if let tls = configuration.tls {
            let chain = try NIOSSLCertificate.fromPEMFile(tls.certificateChain).map {
                NIOSSLCertificateSource.certificate($0)
            }
            let key = try NIOSSLPrivateKey(file: tls.privateKey, format: .pem)
            server = try .tls(
                server,
                tlsConfiguration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key)))
        }
        return try server.buildServer(
            configuration: ServerConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                availableConnectionsDelegate: MaximumAvailableConnections(configuration.maximumConnections)),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: logger
        ) { request, writer, _ in
            var response = await responder.respond(to: request)
            response.headers[.date] = HTTPDate.now
            do {
                try await writer.write(response: response.head, body: response.body)
            } catch is HTTPParserError {
                // Rethrown unchanged, the error would make the server write a second response.
                throw ChannelError.inputClosed
            }
        } onServerRunning: { [onReady] channel in
            await onReady(channel.localAddress?.port ?? 0)
        }
    }
}
