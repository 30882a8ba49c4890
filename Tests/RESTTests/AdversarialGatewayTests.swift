import AsyncHTTPClient
import NIOCore
import NIOPosix
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

@testable import ZooKeeperREST

/// Tests the store with gateways that send invalid responses, or none.
@Suite(.timeLimit(.minutes(2)))
struct AdversarialGatewayTests {
    /// Runs `body` with the address of a server that responds to every request with the same bytes, and keeps the
    /// connection open.
    private func withServer(responding bytes: String, _ body: (String) async throws -> Void) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(FixedResponse(bytes))
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        do {
            try await body("http://127.0.0.1:\(server.localAddress?.port ?? 0)")
            try await server.close()
        } catch {
            try? await server.close()
            throw error
        }
    }

    @Test("A response whose body does not end counts as missing")
    func incompleteResponse() async throws {
        try await withServer(responding: "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{") { address in
            let transport = RESTTransport(.shared, longPollClient: .shared, nil)
            _ = try await withDeadline("the time limit", within: .seconds(10)) {
                await #expect(throws: RESTTransport.Failure.noResponse) {
                    _ = try await transport.send(.init(method: .get, url: address), within: .milliseconds(200))
                }
            }
        }
    }

    @Test(
        "A call retries a temporary failure until its deadline",
        arguments: [
            "nonsense", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        ])
    func temporaryFailure(_ response: String) async throws {
        try await withServer(responding: response) { address in
            try await withStore(.standard, at: address, configure: { $0.requestTimeout = .milliseconds(500) }) {
                store in
                let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.exists("/") }
                #expect(
                    error?.code == .deadlineExceeded && error?.outcome == .notApplied, "\(String(describing: error))")
            }
        }
    }

    @Test(
        "An invalid response to the request for a session is an error at once, which quotes it",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 201 Created\r\nContent-Length: 16\r\n\r\n{\"id\":\"../../x\"}",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
        ])
    func invalidSession(_ response: String) async throws {
        try await withServer(responding: response) { address in
            try await withStore(.standard, at: address) { store in
                try await withDeadline("the error", within: .seconds(15)) {
                    let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.exists("/") }
                    #expect(error?.code == .unreadableResponse && error?.outcome == .notApplied)
                    let status = String(response.split(separator: " ")[1])
                    #expect(error?.message.contains(status) == true, "\(String(describing: error))")
                }
            }
        }
    }

    @Test("A store skips a gateway that lacks the required extensions")
    func unsuitableGateway() async throws {
        let servers = try await TestServer.address()
        try await withGateway(.standard, servers: servers) { standard in
            try await withGateway(.extensions, servers: servers) { extended in
                try await withStore(.extensions, at: standard, configure: { $0.gateways.append(extended) }) { store in
                    let capabilities = try await store.capabilities
                    #expect(capabilities.contains(.transactions))
                }
            }
        }
    }
}

private final class FixedResponse: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let response: String

    init(_ response: String) { self.response = response }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: response)), promise: nil)
    }
}
