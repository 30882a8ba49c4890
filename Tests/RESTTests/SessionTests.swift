import AsyncHTTPClient
import Foundation
import NIOCore
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST

/// Sessions over a gateway: their end is told, and another one follows.
@Suite(.timeLimit(.minutes(3)))
struct SessionTests {
    /// The gateway ends and another takes its place: its sessions are gone.
    @Test(arguments: Kind.allCases) func aGatewayIsReplaced(_ kind: Kind) async throws {
        let servers = try await TestServer.address()
        let gateways = try await withGateway(kind, servers: servers) { first in
            let port = try #require(URL(string: first)?.port)
            return (first, port)
        }
        try await withStore(kind, at: gateways.0) { store in
            let before = try await withGateway(kind, servers: servers, port: gateways.1) { _ in
                _ = try await store.create("/e", data: [], mode: .ephemeral)
                return store.sessionState.sessionID
            }
            try await withGateway(kind, servers: servers, port: gateways.1) { _ in
                try await withDeadline("another session") {
                    for await state in store.sessionStates where state.phase == .connected && state.sessionID != before
                    {
                        break
                    }
                }
                #expect(store.sessionState.expirations == 1)
                let gone = try await store.exists("/e")
                #expect(gone == nil)
            }
        }
    }

    /// A session is in doubt before it can end, and not without a reason.
    @Test func doubtComesBeforeTheEnd() async throws {
        let servers = try await TestServer.address()
        let (address, port) = try await withGateway(.extended, servers: servers) { first in
            (first, try #require(URL(string: first)?.port))
        }
        try await withStore(.extended, at: address) { store in
            let session = try await withGateway(.extended, servers: servers, port: port) { _ in
                _ = try await store.exists("/")
                return store.sessionState.sessionID
            }
            let start = ContinuousClock.now
            try await withDeadline("doubt") {
                for await state in store.sessionStates where state.phase == .suspended { break }
            }
            let doubt = start.duration(to: .now)
            #expect(store.sessionState.sessionID == session, "it was told to have ended at once")
            #expect(doubt < .seconds(4) * 2 / 3, "\(doubt)")
        }
    }

    /// Signs of life are given at intervals, and no more of them.
    @Test func anIdleStoreAsksSeldom() async throws {
        try await withGateway(.extended, servers: try await TestServer.address()) { gateway in
            func requests() async throws -> Int {
                let response = try await HTTPClient.shared.execute(
                    HTTPClientRequest(url: gateway + "/metrics"), timeout: .seconds(5))
                let text = String(buffer: try await response.body.collect(upTo: 1 << 20))
                return text.split(separator: "\n").filter { $0.hasPrefix("zookeeper_gateway_requests_total") }.reduce(0)
                {
                    $0 + ($1.split(separator: " ").last.flatMap { Int($0) } ?? 0)
                }
            }
            try await withStore(.extended, at: gateway) { store in
                _ = try await store.exists("/")
                let before = try await requests()
                // The time itself: a session of four seconds has four signs in it.
                try await Task.sleep(for: .seconds(2.5))
                let asked = try await requests() - before
                #expect((2...8).contains(asked), "\(asked) requests")
            }
        }
    }

    /// Nobody closes it.
    @Test func aStoreThatIsDroppedHarmsNobody() async throws {
        try await withGateway(.extended, servers: try await TestServer.address()) { gateway in
            for _ in 0..<3 {
                let store = try RESTNodeStore(.init(gateways: [gateway]))
                _ = try await store.exists("/")
            }
            _ = try RESTNodeStore(.init(gateways: [gateway]))
        }
    }
}
