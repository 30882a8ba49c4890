import NIOCore
import NIOPosix
import TestSupport
import Testing
import ZooKeeperServer
@testable import zkq

@Suite(.timeLimit(.minutes(2)))
struct ServerVersionTests {
    @Test("The version is parsed from a response to srvr, and from no other text")
    func parsedResponses() {
        let response =
            "Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on 2022-02-25\nMode: leader\n"
        #expect(ServerVersion(response: response) == ServerVersion(3, 8, 0))
        #expect(
            ServerVersion(response: "Zookeeper version: 3.9.3-${mvngit.commit.id}, built on x")
                == ServerVersion(3, 9, 3))
        #expect(ServerVersion(response: "Zookeeper version: 3.10.0-SNAPSHOT") == ServerVersion(3, 10, 0))
        let invalid = [
            "", "srvr is not executed because it is not in the whitelist.", "HTTP/1.1 400 Bad Request",
            "Zookeeper version: ", "Zookeeper version: 3.9", "Zookeeper version: 3..0",
            "Zookeeper version: 3.9.99999999999999999999",
            "This ZooKeeper instance is not currently serving requests",
        ]
        for text in invalid { #expect(ServerVersion(response: text) == nil, "\(text)") }
    }

    @Test("Each server version has its known defects, and a later one has none")
    func defectsOfVersions() {
        let older = [4394, 4643, 4646, 4712]
        #expect(ServerVersion(3, 8, 0).defects == older + [4785])
        #expect(ServerVersion(3, 8, 4).defects == older + [4785])
        #expect(ServerVersion(3, 8, 6).defects == older)
        #expect(ServerVersion(3, 9, 1).defects == older + [4785])
        #expect(ServerVersion(3, 9, 2).defects == older)
        #expect(ServerVersion(3, 9, 3).defects == [4925])
        for good in [ServerVersion(3, 9, 4), ServerVersion(3, 9, 6), ServerVersion(3, 10, 0), ServerVersion(4, 0, 0)] {
            #expect(good.defects.isEmpty && good.warning == nil)
        }
        #expect(
            ServerVersion(3, 9, 3).warning
                == "ZooKeeper 3.9.3: an ensemble of this version can lose acknowledged writes when its leader changes "
                + "(ZOOKEEPER-4925). Upgrade to 3.9.4 or later.")
    }

    @Test("Servers that do not respond are left out of the reported versions")
    func unresponsiveServers() async throws {
        let silent = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(silent.localAddress?.port)
        let server = try await TestServer.shared.ensemble().connectString
        let name = "localhost:" + server.drop { $0 != ":" }.dropFirst()
        let start = ContinuousClock.now
        let reported = await ServerVersion.reported(by: ["127.0.0.1:\(port)", "127.0.0.1:1", "[::1]:1", name, server])
        #expect(reported.map(\.server) == [name, server])
        #expect(ContinuousClock.now - start < .seconds(10))
        try await silent.close()
    }

    @Test("zkq doctor warns of the defects of the version that a server reports")
    func doctorWarnings() async throws {
        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "a").isSuccess)
        let server = try await TestServer.shared.ensemble().connectString
        let version = try #require(await ServerVersion.reported(by: [server]).first?.version)
        let expected = version.warning.map { ["warning: \(server): \($0)"] } ?? []
        let warnings = try await zkq("doctor", "--for", "0.1").lines.filter { $0.contains("ZOOKEEPER-") }
        #expect(warnings == expected)
        let json = try await zkq("doctor", "--for", "0.1", "--json")
        #expect(json.lines.count == 1)
        #expect(json.error.split(separator: "\n").filter { $0.contains("ZOOKEEPER-") }.map(String.init) == expected)
    }
}
