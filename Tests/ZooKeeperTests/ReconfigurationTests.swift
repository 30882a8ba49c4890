import TestSupport
import Testing
import ZooKeeperServer

@testable import ZooKeeper

/// Clients of an ensemble that is reconfigured.
@Suite(.timeLimit(.minutes(3)))
struct ReconfigurationTests {
    @Test(
        "The servers' client addresses are read from the ensemble's configuration",
        arguments: [
            ("server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181\nversion=100000003", "10.0.0.1:2181"),
            ("server.1=a:1:2:participant;2181\nserver.2=b:1:2:observer;0.0.0.0:2182", "a:2181,b:2182"),
            ("server.7=[fe80::1]:1:2:participant;[0:0:0:0:0:0:0:0]:2181\n", "[fe80::1]:2181"),
            ("server.7=a:1:2|b:1:2:participant;[::]:2181\r\nversion=1", "a:2181"),
            (" server.1=no\nserver.2 = c:1:2 ; d:2181\n", "d:2181"),
        ])
    func clientAddresses(_ configuration: String, _ servers: String) {
        #expect(EnsembleMembers(Array(configuration.utf8))?.servers == servers)
    }

    @Test(
        "A configuration without a valid client address for each server is rejected",
        arguments: [
            "", "version=0", "server.1=10.0.0.1:2888:3888:participant",
            "server.1=a:1:2:participant;2181\nserver.2=b:1:2:participant", "server.1=;", "server.1=a;b",
            "server.1=:1:2;2181", "server.1=a:1:2;h,h2:2181/etc", "server.1=a:1:2;h:99999", "server.1", ";=server.1",
        ])
    func incompleteConfiguration(_ configuration: String) {
        #expect(EnsembleMembers(Array(configuration.utf8)) == nil)
        #expect(EnsembleMembers(nil) == nil && EnsembleMembers([0xFF, 0xFE]) == nil)
    }

    @Test("The configured and the reported servers are tried in turn")
    func serverChoice() {
        var choice = ServerChoice(configured: "a:1,b:1")
        func next() -> String? { choice.tryOther() ? choice.current : nil }
        #expect(next() == nil)
        choice.learn(EnsembleMembers(Array("server.1=b:2:3;b:1\nserver.2=a:2:3;a:1".utf8)))
        #expect(next() == nil, "The reported servers are the configured ones.")
        choice.learn(EnsembleMembers(Array("server.3=c:2:3;c:1".utf8)))
        #expect(choice.current == "a:1,b:1", "A report alone does not change the current servers.")
        #expect(next() == "c:1")
        #expect(next() == "a:1,b:1")
        #expect(next() == "c:1")
        choice.learn(nil)
        #expect(next() == "a:1,b:1" && next() == "c:1", "An incomplete report does not replace a complete one.")
        choice.learn(EnsembleMembers(Array("server.4=d:2:3;d:1".utf8)))
        #expect(next() == "d:1" && next() == "a:1,b:1")
    }

    @Test("A session continues when none of its configured servers is left")
    func replacedServers() async throws {
        var configuration = LocalEnsembleConfiguration.forTests(servers: 3)
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let settings = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(10),
                authentication: .digest(user: "u", password: "p"))
            try await ZooKeeperClient.withClient(configuration: settings) { client in
                try await client.create("/e", mode: .ephemeral)
                try await client.create("/n")
                let id = client.sessionState.sessionID
                var changes = client.dataUpdates(of: "/n").makeAsyncIterator()
                _ = try await changes.next()

                try await replaceAll(of: ensemble, through: client)
                #expect(try await client.exists("/e")?.ephemeralOwner == id)
                try await client.multi([.set("/n", data: [2], version: 0)])
                #expect(try await changes.next()??.data == [2], "The watch is set again on the new servers.")
                #expect(client.sessionState.sessionID == id && client.sessionState.expirations == 0)
            }
        }
    }

    @Test("A client that finds no server in either list can be closed")
    func closingWithoutServers() async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let settings = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(2), requestTimeout: .seconds(20))
            let client = try ZooKeeperClient(configuration: settings)
            let joined = try await ensemble.join()
            try await retrying { try await client.reconfigure(joining: [joined.member]) }
            for index in 0..<2 { await ensemble.kill(index) }
            // By then, the client has tried both lists.
            for await state in client.sessionStates where state.phase == .suspended { break }
            let waiting = Task { try await client.exists("/") }
            try await withDeadline("the client to close", within: .seconds(10)) { await client.close() }
            await expect(.closed) { _ = try await waiting.value }
        }
    }

    @Test("A client that does not follow reconfigurations tries its configured servers only")
    func ignoredReconfiguration() async throws {
        var configuration = LocalEnsembleConfiguration.forTests(servers: 3)
        configuration.isReconfigurable = true
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let settings = try ZooKeeperConfiguration(
                servers: ensemble.connectString, followsReconfiguration: false, requestTimeout: .seconds(5))
            try await ZooKeeperClient.withClient(configuration: settings) { client in
                try await replaceAll(of: ensemble, through: client)
                await expect(.deadlineExceeded) { _ = try await client.exists("/") }
            }
        }
    }

    /// Adds three servers, removes the first three from the ensemble, and kills these.
    private func replaceAll(of ensemble: LocalEnsemble, through client: ZooKeeperClient) async throws {
        var joining: [String] = []
        for _ in 0..<3 { joining.append(try await ensemble.join().member) }
        try await retrying { try await client.reconfigure(joining: joining) }
        let remaining = try await retrying { try await client.reconfigure(leaving: [1, 2, 3]) }
        #expect(EnsembleMembers(Array(remaining.utf8))?.servers.split(separator: ",").count == 3)
        for index in 0..<3 { await ensemble.kill(index) }
    }

    /// Repeats a reconfiguration whose response was lost, because a leader that leaves may close the connection before
    /// it responds. A repeated reconfiguration changes nothing more.
    @discardableResult
    private func retrying(_ reconfigure: () async throws -> String) async throws -> String {
        while true {
            do {
                return try await reconfigure()
            } catch let error as ZooKeeperError where error.outcome == .unknown && error.code != .deadlineExceeded {
                // The loop repeats the call.
            }
        }
    }
}
