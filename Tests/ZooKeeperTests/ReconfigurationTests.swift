import TestSupport
import Testing
import ZooKeeperServer

@testable import ZooKeeper

/// How a client follows an ensemble whose members change.
@Suite(.timeLimit(.minutes(3)))
struct MembersTests {
    @Test(arguments: [
        ("server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181\nversion=100000003", "10.0.0.1:2181"),
        ("server.1=a:1:2:participant;2181\nserver.2=b:1:2:observer;0.0.0.0:2182", "a:2181,b:2182"),
        ("server.7=[fe80::1]:1:2:participant;[0:0:0:0:0:0:0:0]:2181\n", "[fe80::1]:2181"),
        ("server.7=a:1:2|b:1:2:participant;[::]:2181\r\nversion=1", "a:2181"),
        (" server.1=no\nserver.2 = c:1:2 ; d:2181\n", "d:2181"),
    ])
    func membersAreRead(_ configuration: String, _ servers: String) {
        #expect(EnsembleMembers(Array(configuration.utf8))?.servers == servers)
    }

    @Test(arguments: [
        "", "version=0", "server.1=10.0.0.1:2888:3888:participant",
        "server.1=a:1:2:participant;2181\nserver.2=b:1:2:participant", "server.1=;", "server.1=a;b",
        "server.1=:1:2;2181",
        "server.1=a:1:2;h,h2:2181/etc", "server.1=a:1:2;h:99999", "server.1", ";=server.1",
    ])
    func whatDoesNotSayWhereEachMemberServesIsNotFollowed(_ configuration: String) {
        #expect(EnsembleMembers(Array(configuration.utf8)) == nil)
        #expect(EnsembleMembers(nil) == nil && EnsembleMembers([0xFF, 0xFE]) == nil)
    }

    @Test func eachListIsTriedWhenTheOtherLeadsNowhere() {
        var choice = ServerChoice(configured: "a:1,b:1")
        func tried() -> String? { choice.tryOther() ? choice.current : nil }
        #expect(tried() == nil)
        choice.learn(EnsembleMembers(Array("server.1=b:2:3;b:1\nserver.2=a:2:3;a:1".utf8)))
        #expect(tried() == nil, "the same servers")
        choice.learn(EnsembleMembers(Array("server.3=c:2:3;c:1".utf8)))
        #expect(choice.current == "a:1,b:1", "as long as it is connected")
        #expect(tried() == "c:1")
        #expect(tried() == "a:1,b:1")
        #expect(tried() == "c:1")
        choice.learn(nil)
        #expect(tried() == "a:1,b:1" && tried() == "c:1", "what was said in full is kept")
        choice.learn(EnsembleMembers(Array("server.4=d:2:3;d:1".utf8)))
        #expect(tried() == "d:1" && tried() == "a:1,b:1")
    }

    @Test func aSessionGoesOnWhenNoneOfItsServersIsLeft() async throws {
        var configuration = LocalEnsembleConfiguration.forTests(servers: 3)
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let follower = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(10),
                authentication: .digest(user: "u", password: "p"))
            try await ZooKeeperClient.withClient(configuration: follower) { client in
                try await client.create("/e", mode: .ephemeral)
                try await client.create("/n")
                let id = client.sessionState.sessionID
                var changes = client.dataUpdates(of: "/n").makeAsyncIterator()
                _ = try await changes.next()

                try await replaceAll(of: ensemble, through: client)
                #expect(try await client.exists("/e")?.ephemeralOwner == id)
                try await client.multi([.set("/n", data: [2], version: 0)])
                #expect(try await changes.next()??.data == [2], "watches are set anew")
                #expect(client.sessionState.sessionID == id && client.sessionState.expirations == 0)
            }
        }
    }

    @Test func aClientThatLooksForServersInVainEndsWhenItIsClosed() async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let settings = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(2), requestTimeout: .seconds(20))
            let client = try ZooKeeperClient(configuration: settings)
            let joined = try await ensemble.join()
            try await change { try await client.reconfigure(joining: [joined.member]) }
            for index in 0..<2 { await ensemble.kill(index) }
            // Until then, both lists were tried.
            for await state in client.sessionStates where state.phase == .suspended { break }
            let waiting = Task { try await client.exists("/") }
            try await withDeadline("a client to be closed", within: .seconds(10)) { await client.close() }
            await expect(.closed) { _ = try await waiting.value }
        }
    }

    @Test func aClientThatDoesNotFollowStaysWithItsServers() async throws {
        var configuration = LocalEnsembleConfiguration.forTests(servers: 3)
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let faithful = try ZooKeeperConfiguration(
                servers: ensemble.connectString, followsReconfiguration: false, requestTimeout: .seconds(5))
            try await ZooKeeperClient.withClient(configuration: faithful) { client in
                try await replaceAll(of: ensemble, through: client)
                await expect(.deadlineExceeded) { _ = try await client.exists("/") }
            }
        }
    }

    /// Three servers join, the first three leave and are gone.
    private func replaceAll(of ensemble: LocalEnsemble, through client: ZooKeeperClient) async throws {
        var joining: [String] = []
        for _ in 0..<3 { joining.append(try await ensemble.join().member) }
        try await change { try await client.reconfigure(joining: joining) }
        let members = try await change { try await client.reconfigure(leaving: [1, 2, 3]) }
        #expect(EnsembleMembers(Array(members.utf8))?.servers.split(separator: ",").count == 3)
        for index in 0..<3 { await ensemble.kill(index) }
    }

    /// A leader that leaves may break off before it answers; the same change again is harmless.
    @discardableResult
    private func change(_ reconfigure: () async throws -> String) async throws -> String {
        while true {
            do {
                return try await reconfigure()
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // Once more.
            }
        }
    }
}
