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

/// ZooKeeper's REST interface, as a service, for programs that speak HTTP: specification version 2 (`/znodes/v1`, `/sessions/v1`), and
/// the queue's own (`/queues/v1`, see <doc:QueueOverHTTP>).
///
/// ```swift
/// let gateway = try Gateway(.init(endpoints: [.init(zookeeper: try .init(servers: "127.0.0.1:2181"))]))
/// try await ServiceGroup(services: [gateway], logger: logger).run()
/// ```
///
/// It answers as Apache ZooKeeper's own gateway does, which existing clients depend on; see <doc:RestInterface> for where it
/// differs. It listens on 127.0.0.1 unless told otherwise.
public struct Gateway: Service {
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let onReady: @Sendable (_ port: Int) async -> Void

    /// Creates a gateway; nothing is opened before ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: where it listens, and what for.
    ///   - logger: gets what it has to say, never data, credentials or session ids.
    ///   - onReady: is called with the port when requests are served.
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

    /// Serves until the service group shuts down or the task is cancelled; requests that are at work are answered first. Then
    /// all sessions are closed.
    ///
    /// - Throws: ``GatewayError`` and errors of the network: an address that is taken, a certificate that cannot be read.
    public func run() async throws {
        let endpoints = try configuration.endpoints.map { try Endpoint($0, of: configuration, logger: logger) }
        do {
            let server = try server(endpoints)
            try await withGracefulShutdownHandler {
                try await server.run()
            } onGracefulShutdown: {
                // Else the server would wait for those who wait for messages.
                Task { for endpoint in endpoints { await endpoint.queues.stop() } }
            }
        } catch {
            for endpoint in endpoints { await endpoint.close() }
            throw error
        }
        for endpoint in endpoints { await endpoint.close() }
    }

    /// HTTP's own server, without the framework that stands on it: that needs the whole of Foundation, which makes a
    /// statically linked program three times as large.
    private func server(_ endpoints: [Endpoint]) throws -> any Service {
        let responder = GatewayResponder(configuration, endpoints, logger)
        let bodyTimeout = configuration.bodyTimeout
        var http = HTTP1Channel.Configuration(
            // Some seconds more than the answer to a body that is late, which must arrive.
            additionalChannelHandlers: [RequestGuard.Installer(bodyTimeout: bodyTimeout + .seconds(2))],
            idleTimeout: .nanoseconds(Int64(configuration.idleTimeout / .nanoseconds(1))))
        http.httpDecoder = .init(
            maxHeaderFieldSize: configuration.maximumHeadSize, maxHeaderListSize: configuration.maximumHeadSize,
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
                // Thrown on, it would have the server write a second answer.
                throw ChannelError.inputClosed
            }
        } onServerRunning: { [onReady] channel in
            await onReady(channel.localAddress?.port ?? 0)
        }
    }
}
