import AsyncHTTPClient
import Foundation
import NIOCore
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST

/// Tests how a store keeps, loses and replaces its session.
@Suite(.timeLimit(.minutes(3)))
struct SessionTests {
    @Test("A store opens another session when its gateway is replaced", arguments: GatewayKind.allCases)
    func replacedGateway(_ kind: GatewayKind) async throws {
        let servers = try await TestServer.address()
        let (address, port) = try await withGateway(kind, servers: servers) { address in
            (address, try #require(URL(string: address)?.port))
        }
        try await withStore(kind, at: address) { store in
            let before = try await withGateway(kind, servers: servers, port: port) { _ in
                _ = try await store.create("/e", data: [], mode: .ephemeral)
                return store.sessionState.sessionID
            }
            try await withGateway(kind, servers: servers, port: port) { _ in
                try await withDeadline("another session") {
                    for await state in store.sessionStates where state.phase == .connected && state.sessionID != before
                    {
                        break
                    }
                }
                #expect(store.sessionState.expirations == 1)
                let ephemeral = try await store.exists("/e")
                #expect(ephemeral == nil)
            }
        }
    }

    @Test("A session is suspended before it can end")
    func suspension() async throws {
        let servers = try await TestServer.address()
        let (address, port) = try await withGateway(.extensions, servers: servers) { address in
            (address, try #require(URL(string: address)?.port))
        }
        try await withStore(.extensions, at: address) { store in
            let session = try await withGateway(.extensions, servers: servers, port: port) { _ in
                _ = try await store.exists("/")
                return store.sessionState.sessionID
            }
            let start = ContinuousClock.now
            try await withDeadline("the suspension") {
                for await state in store.sessionStates where state.phase == .suspended { break }
            }
            let delay = start.duration(to: .now)
            #expect(store.sessionState.sessionID == session, "The session ended without being suspended.")
            #expect(delay < .seconds(4) * 2 / 3, "\(delay)")
        }
    }

    @Test("An idle store sends only its heartbeats")
    func idleStore() async throws {
        try await withGateway(.extensions, servers: try await TestServer.address()) { gateway in
            func requests() async throws -> Int {
                let response = try await HTTPClient.shared.execute(
                    HTTPClientRequest(url: gateway + "/metrics"), timeout: .seconds(5))
                let text = String(buffer: try await response.body.collect(upTo: 1 << 20))
                return text.split(separator: "\n").filter { $0.hasPrefix("zookeeper_gateway_requests_total") }.reduce(0)
                {
                    $0 + ($1.split(separator: " ").last.flatMap { Int($0) } ?? 0)
                }
            }
            try await withStore(.extensions, at: gateway) { store in
                _ = try await store.exists("/")
                let before = try await requests()
                // Heartbeats are sent by time, and no event announces them.
                try await Task.sleep(for: .seconds(2.5))
                let sent = try await requests() - before
                #expect((2...8).contains(sent), "\(sent) requests")
            }
        }
    }

    @Test("A store can be dropped without being closed")
    func droppedStore() async throws {
        try await withGateway(.extensions, servers: try await TestServer.address()) { gateway in
            for _ in 0..<3 {
                let store = try RESTNodeStore(.init(gateways: [gateway]))
                _ = try await store.exists("/")
            }
            _ = try RESTNodeStore(.init(gateways: [gateway]))
        }
    }
}
