import Foundation
import HTTPTypes
import HummingbirdTesting
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperGateway

/// Runs `body` with a gateway that serves an empty part of the shared server's tree.
func withGateway(
    endpoints: [GatewayConfiguration.Endpoint]? = nil, name: String = #function,
    configure change: (inout GatewayConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (TestGateway) async throws -> Void
) async throws {
    var zookeeper = try ZooKeeperConfiguration(servers: try await TestServer.address(name))
    zookeeper.sessionTimeout = .seconds(5)
    var configuration = GatewayConfiguration(port: 0, endpoints: endpoints ?? [.init(zookeeper: zookeeper)])
    change(&configuration)
    let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
    var logger = Logger(label: "gateway")
    logger.logLevel = .error
    let gateway = try Gateway(configuration, logger: logger) { continuation.yield($0) }
    let address = zookeeper.servers + zookeeper.chroot
    let finished = Received()
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await gateway.run() }
        group.addTask {
            guard let port = await ports.first(where: { _ in true }) else { return }
            try await body(TestGateway(port: port, address: address))
            finished.append("yes")
        }
        defer { group.cancelAll() }
        // Either the body ends first, or the gateway fails.
        try await group.next()
    }
    #expect(!finished.text.isEmpty, "The gateway ended before the body.")
}

/// A gateway under test, as a client uses it.
struct TestGateway: Sendable {
    let port: Int
    /// The connect string of the ensemble, with the chroot.
    let address: String

    var host: String { "127.0.0.1:\(port)" }

    struct Response {
        let status: Int
        let contentType: String?
        let location: String?
        let headers: HTTPFields
        let body: String
    }

    /// Sends a request on a new connection.
    func callAsFunction(
        _ method: String, _ path: String, headers: [String: String] = [:], body: String? = nil
    ) async throws -> Response {
        try await send(method, path, headers, body, tls: nil)
    }

    /// Sends a request over TLS, and accepts any certificate.
    func overTLS(_ method: String, _ path: String, headers: [String: String]) async throws -> Response {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.certificateVerification = .none
        return try await send(method, path, headers, nil, tls: tls)
    }

    private func send(
        _ method: String, _ path: String, _ headers: [String: String], _ body: String?, tls: TLSConfiguration?
    ) async throws -> Response {
        let client = TestClient(
            host: "127.0.0.1", port: port,
            configuration: .init(
                tlsConfiguration: tls, timeout: .seconds(20), serverName: tls == nil ? nil : "localhost"),
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton))
        client.connect()
        var fields = HTTPFields()
        for (name, value) in headers {
            if let name = HTTPField.Name(name) { fields[name] = value }
        }
        do {
            let response = try await client.execute(
                .init(
                    path, method: HTTPRequest.Method(method) ?? .get, authority: host, headers: fields,
                    body: body.map { ByteBuffer(string: $0) }))
            try await client.shutdown()
            return Response(
                status: response.status.code, contentType: response.headers[.contentType],
                location: response.headers[.location], headers: response.headers,
                body: response.body.map { String(buffer: $0) } ?? "")
        } catch {
            try? await client.shutdown()
            throw error
        }
    }

    /// Sends a request with octets, and accepts JSON.
    func json(_ method: String, _ path: String, body: String? = nil) async throws -> (
        status: Int, fields: [String: Any]
    ) {
        let headers = ["Accept": "application/json", "Content-Type": "application/octet-stream"]
        let response = try await self(method, path, headers: headers, body: body)
        let object = try? JSONSerialization.jsonObject(with: Data(response.body.utf8))
        return (response.status, object as? [String: Any] ?? [:])
    }

    /// Sends raw bytes, and returns all text that arrives until the gateway closes the connection or the time is over.
    func raw(_ text: String, within limit: Duration = .seconds(5)) async throws -> String {
        try await raw(Array(text.utf8), within: limit)
    }

    func raw(_ bytes: [UInt8], within limit: Duration) async throws -> String {
        try await exchange(bytes, within: limit).text
    }

    /// Sends bytes, and then one more every 50 milliseconds until the gateway closes the connection.
    ///
    /// - Returns: the received text, and whether the gateway closed the connection in time.
    func trickle(_ text: String, within limit: Duration) async throws -> (text: String, isClosed: Bool) {
        try await exchange(Array(text.utf8), thenEach: .milliseconds(50), within: limit)
    }

    private func exchange(
        _ bytes: [UInt8], thenEach pause: Duration? = nil, within limit: Duration
    ) async throws -> (text: String, isClosed: Bool) {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try? await outbound.write(ByteBuffer(bytes: bytes))
            let trickle = Task {
                // Imitates a slow client.
                while let pause, (try? await Task.sleep(for: pause)) != nil {
                    do { try await outbound.write(ByteBuffer(string: "x")) } catch { return }
                }
            }
            defer { trickle.cancel() }
            return await withTaskGroup(of: String?.self) { group in
                let received = Received()
                group.addTask {
                    do { for try await part in inbound { received.append(String(buffer: part)) } } catch {}
                    return received.text
                }
                group.addTask {
                    // A timer is needed, because the gateway may never close the connection.
                    try? await Task.sleep(for: limit)
                    return nil
                }
                let first = await group.next() ?? nil
                group.cancelAll()
                return (first ?? received.text, first != nil)
            }
        }
    }
}
