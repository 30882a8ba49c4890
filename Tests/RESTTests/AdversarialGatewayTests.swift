import AsyncHTTPClient
import NIOCore
import NIOPosix
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

@testable import ZooKeeperREST

/// Gateways that answer badly, or not at all.
@Suite(.timeLimit(.minutes(2)))
struct AdversarialGatewayTests {
    /// Runs `body` with the address of a server that answers everything with the same bytes, and keeps the connection.
    private func withAnswers(_ bytes: String, _ body: (String) async throws -> Void) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(SameAnswer(bytes))
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

    /// The head of an answer is no answer: a heartbeat that waited for the rest would take the session for alive.
    @Test func anAnswerThatNeverEndsIsNone() async throws {
        try await withAnswers("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{") { address in
            let transport = RESTTransport(.shared, longPollClient: .shared, nil)
            _ = try await withDeadline("the time limit", within: .seconds(10)) {
                await #expect(throws: RESTTransport.Failure.noResponse) {
                    _ = try await transport.send(.init(method: .get, url: address), within: .milliseconds(200))
                }
            }
        }
    }

    @Test(
        "What may pass is waited for",
        arguments: [
            "nonsense", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        ])
    func whatMayPassIsWaitedFor(_ answer: String) async throws {
        try await withAnswers(answer) { address in
            try await withStore(.plain, at: address, configure: { $0.requestTimeout = .milliseconds(500) }) { store in
                let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.exists("/") }
                #expect(
                    error?.code == .deadlineExceeded && error?.outcome == .notApplied, "\(String(describing: error))")
            }
        }
    }

    @Test(
        "What is no session is refused at once, and quoted",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 201 Created\r\nContent-Length: 16\r\n\r\n{\"id\":\"../../x\"}",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
        ])
    func nothingIsTakenForASession(_ answer: String) async throws {
        try await withAnswers(answer) { address in
            try await withStore(.plain, at: address) { store in
                try await withDeadline("the refusal", within: .seconds(15)) {
                    let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.exists("/") }
                    #expect(error?.code == .unreadableResponse && error?.outcome == .notApplied)
                    let status = String(answer.split(separator: " ")[1])
                    #expect(error?.message.contains(status) == true, "\(String(describing: error))")
                }
            }
        }
    }

    /// One of several refuses; the others are asked.
    @Test func aGatewayThatIsOfNoUseIsPassedOver() async throws {
        let servers = try await TestServer.address()
        try await withGateway(.plain, servers: servers) { plain in
            try await withGateway(.extended, servers: servers) { extended in
                try await withStore(.extended, at: plain, configure: { $0.gateways.append(extended) }) { store in
                    let capabilities = try await store.capabilities
                    #expect(capabilities.contains(.transactions))
                }
            }
        }
    }
}

private final class SameAnswer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let answer: String

    init(_ answer: String) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
    }
}
