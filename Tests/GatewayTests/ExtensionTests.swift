import Foundation
import GatewayProtocol
import HTTPTypes
import Logging
import TestSupport
import Testing
import ZooKeeper
@testable import ZooKeeperGateway

/// Tests what a gateway offers beyond ZooKeeper's REST interface.
@Suite(.timeLimit(.minutes(2)))
struct ExtensionTests {
    private func call(
        _ gateway: TestGateway, _ session: String, _ call: ExtensionCall, number: Int? = nil
    ) async throws -> (status: Int, reply: ExtensionReply?) {
        let body = try JSONEncoder().encode(ExtensionRequest(session: session, number: number, call: call))
        let response = try await gateway(
            "POST", "/extensions/v1", headers: ["Content-Type": "application/json"],
            body: String(decoding: body, as: UTF8.self))
        return (response.status, try? JSONDecoder().decode(ExtensionReply.self, from: Data(response.body.utf8)))
    }

    private func session(_ gateway: TestGateway) async throws -> String {
        try #require(try await gateway.json("POST", "/sessions/v1?op=create&expire=10").fields["id"] as? String)
    }

    @Test("A gateway advertises its extensions, unless they are turned off")
    func announcement() async throws {
        try await withGateway(configure: { $0.maximumBodySize = 70_000 }) { gateway in
            let response = try await gateway("GET", "/extensions/v1")
            let capabilities = try JSONDecoder().decode(Capabilities.self, from: Data(response.body.utf8))
            #expect(capabilities == Capabilities(extensions: ["transactions", "watches"], maximumBodySize: 70_000))
        }
        try await withGateway(configure: { $0.offersExtensions = false }) { gateway in
            let none = try await gateway("GET", "/extensions/v1")
            #expect(none.status == 404)
        }
    }

    @Test("A write is refused when it arrives after a newer one, or has no number")
    func lateWrite() async throws {
        try await withGateway { gateway in
            let session = try await session(gateway)
            var statuses: [Int] = []
            for (path, number) in [("/a", 1), ("/b", 3), ("/c", 2), ("/d", 3)] {
                let create = ExtensionCall.create(path: path, data: Data(), mode: .persistent)
                statuses.append(try await call(gateway, session, create, number: number).status)
            }
            #expect(statuses == [200, 200, 400, 400])
            let unnumbered = try await call(gateway, session, .sync(path: "/"))
            #expect(unnumbered.status == 400)
        }
    }

    @Test("The size limit counts the data, not its base64")
    func sizeLimit() async throws {
        try await withGateway(configure: { $0.maximumBodySize = 400_000 }) { gateway in
            let session = try await session(gateway)
            for (number, size, status) in [(1, 400_000, 200), (2, 400_001, 413)] {
                let data = Data(repeating: 0xFF, count: size)
                for (offset, write) in [
                    ExtensionCall.create(path: "/a\(number)", data: data, mode: .persistent),
                    .multi(operations: [.create(path: "/b\(number)", data: data, mode: .persistent, acl: nil)]),
                ].enumerated() {
                    let response = try await call(gateway, session, write, number: 2 * number + offset)
                    #expect(response.status == status, "\(size)")
                    if case .failed(let error)? = response.reply { #expect(error.message.contains("400000")) }
                }
            }
        }
    }

    @Test("An invalid call is refused")
    func invalidCalls() async throws {
        try await withGateway { gateway in
            let unknown = try await call(gateway, "none", .heartbeat)
            guard case .failed(let error)? = unknown.reply else {
                Issue.record("\(unknown)")
                return
            }
            #expect(error.error.code == .unknownSession)
            for body in ["", "{", "{}", #"{"session":"x","call":{"explode":{}}}"#, #"[1]"#] {
                let response = try await gateway("POST", "/extensions/v1", body: body)
                #expect(response.status == 400, "\(body)")
            }
            let deleted = try await gateway("DELETE", "/extensions/v1")
            #expect(deleted.status == 405)
            let session = try await session(gateway)
            let outside = try await call(gateway, session, .get(paths: ["/../x"]))
            #expect(outside.status == 400)
            let refused = try await call(
                gateway, session,
                .multi(operations: [.create(path: "/a/../../b", data: nil, mode: .persistent, acl: nil)]),
                number: 1)
            #expect(refused.status == 400)
        }
    }

    @Test("A wait ends in time, and tells the client that its connection ends too", arguments: ["/none", "/../none"])
    func waitEnds(_ path: String) async throws {
        try await withGateway { gateway in
            let session = try await session(gateway)
            let call = ExtensionCall.awaitNode(path: path, after: nil, seconds: 1)
            let body = try JSONEncoder().encode(ExtensionRequest(session: session, number: nil, call: call))
            let start = ContinuousClock.now
            let response = try await gateway(
                "POST", "/extensions/v1?wait=1", body: String(decoding: body, as: UTF8.self))
            #expect(response.headers[.connection] == "close")
            let reply = try JSONDecoder().decode(ExtensionReply.self, from: Data(response.body.utf8))
            if case .nodes(let nodes) = reply {
                #expect(nodes == [nil] && path == "/none")
                #expect(start.duration(to: .now) > .milliseconds(900))
            } else {
                #expect(response.status == 400 && path != "/none")
            }
        }
    }

    @Test("A session ends when its session at the ensemble expires")
    func expiredSession() async throws {
        var zookeeper = try ZooKeeperConfiguration(servers: try await TestServer.address())
        zookeeper.sessionTimeout = .seconds(5)
        let sessions = RESTSessions(zookeeper, maximum: 2, logger: Logger(label: "sessions"))
        let id = try #require(try await sessions.open(timeout: .seconds(600), within: .seconds(10)))
        let client = try #require(await sessions.client(of: id))
        try await expireSession(of: client)
        let exists = await sessions.touch(id)
        #expect(!exists)
        let none = await sessions.client(of: id)
        #expect(none == nil)
        await sessions.closeAll()
    }

    @Test("The extensions require a user")
    func users() async throws {
        try await withGateway(configure: { $0.users = ["u": "p"] }) { gateway in
            let refused = try await gateway("GET", "/extensions/v1")
            #expect(refused.status == 401)
        }
    }
}
