import MetricsTestKit
import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper

/// Operations on whole paths and trees, and errors that name missing nodes.
@Suite(.timeLimit(.minutes(2)))
struct TreeTests {
    @Test("ensurePath creates missing nodes and leaves existing ones unchanged")
    func ensurePathIsIdempotent() async throws {
        try await withTestClient { client in
            try await client.create("/a", data: [1])
            try await client.ensurePath("/a/b/c")
            try await client.create("/a/b/c/d", data: [2])
            try await client.ensurePath("/a/b/c/d")
            #expect(try await client.get("/a").data == [1])
            #expect(try await client.get("/a/b").data == [])
            #expect(try await client.get("/a/b/c/d").data == [2])
            await expect(.invalidArgument) { try await client.ensurePath("/a//b") }
            try await client.create("/e", mode: .ephemeral)
            await expect(.noChildrenForEphemerals) { try await client.ensurePath("/e/f/g") }
        }
    }

    @Test("ensurePath needs no permission to create nodes that exist")
    func ensurePathReadsFirst() async throws {
        try await withTestClient { client in
            try await client.create("/closed", acl: [.world([.read, .create])])
            try await client.create("/closed/a")
            try await client.setACL(of: "/", to: [.world([.read, .admin])])
            try await client.ensurePath("/closed/a")
            await expect(.noAuth) { try await client.ensurePath("/other/a") }
            try await client.setACL(of: "/", to: .open)
        }
    }

    @Test("ensurePath continues after a restart of the server")
    func ensurePathDuringRestart() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) { client in
                let path = (0..<300).map { "/\($0)" }.joined()
                async let ensured: Void = client.ensurePath(path)
                for try await stat in client.statUpdates(of: "/0/1/2") where stat != nil { break }
                await ensemble.kill(0)
                try await ensemble.start(0)
                try await ensured
                #expect(try await client.exists(path) != nil)
            }
        }
    }

    @Test("The error names a chroot that does not exist, and ensurePath creates it")
    func missingChroot() async throws {
        let chroot = try await TestServer.address() + "/deep/er"
        try await ZooKeeperClient.withClient(configuration: .init(servers: chroot)) { client in
            for call in [
                { _ = try await client.create("/x") }, { _ = try await client.get("/") },
                { _ = try await client.children(of: "/x/y") },
                { _ = try await client.multi([.create("/x", data: [])]) },
            ] {
                let error = await #expect(throws: ZooKeeperError.self) { try await call() }
                #expect(error?.code == .noNode && error?.message.contains(client.configuration.chroot) == true)
            }
            let error = await #expect(throws: ZooKeeperError.self) { try await client.create("/x") }
            #expect(error?.message.contains("ensurePath(\"/\")") == true && error?.path == "/x")
            try await client.ensurePath("/")
            try await client.create("/x")
        }
    }

    @Test("The error of a create names the missing parent")
    func missingParent() async throws {
        try await withTestClient { client in
            let single = await #expect(throws: ZooKeeperError.self) { try await client.create("/none/child/x") }
            #expect(single?.message.contains("The parent node /none/child does not exist") == true)
            let multi = await #expect(throws: ZooKeeperError.self) {
                try await client.multi([.check("/"), .create("/none/x-", data: [], mode: .persistentSequential)])
            }
            #expect(multi?.message.contains("The parent node /none does not exist") == true)
            #expect(multi?.operationIndex == 1)
            let read = await #expect(throws: ZooKeeperError.self) { try await client.get("/none/child") }
            #expect(read?.message.contains("parent node") == false)
        }
    }

    @Test("deleteRecursively deletes deep and wide trees, and nothing else")
    func deletesTrees() async throws {
        try await withTestClient { client in
            let deep = "/tree" + (0..<400).map { "/\($0)" }.joined()
            try await client.ensurePath(deep)
            try await client.multi((0..<1_000).map { .create("/tree/w\($0)", data: []) })
            try await client.multi(
                (0..<10).flatMap { [.create("/tree/w\($0)/x", data: []), .create("/tree/w\($0)/y", data: [])] })
            try await client.create("/tree2")
            try await client.deleteRecursively("/tree")
            #expect(try await client.children(of: "/").names == ["tree2"])
            try await client.deleteRecursively("/tree")
            try await client.deleteRecursively("/tree2")
            #expect(try await client.children(of: "/").names == [])
        }
        let root = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
        await expect(.invalidArgument, outcome: .notApplied) { try await root.deleteRecursively("/") }
        await root.close()
    }

    @Test("Two concurrent recursive deletions of the same tree both succeed")
    func concurrentDeletions() async throws {
        try await withTestClient { client in
            for index in 0..<50 {
                try await client.ensurePath("/tree/\(index)/a/b")
                try await client.create("/tree/\(index)/c")
            }
            async let first: Void = client.deleteRecursively("/tree")
            async let second: Void = client.deleteRecursively("/tree")
            _ = try await (first, second)
            #expect(try await client.exists("/tree") == nil)
        }
    }

    @Test("A recursive deletion frees the bytes of the session's ephemeral nodes")
    func deletionMakesRoom() async throws {
        try await withTestClient { client in
            try await client.create("/p")
            for index in 0..<20 { try await client.create("/p/\(index)", mode: .ephemeral) }
            #expect(client.ephemerals.bytes > 0)
            try await client.deleteRecursively("/p")
            #expect(client.ephemerals.bytes == 0)
        }
    }

    @Test("Errors that the client itself expects do not count as failures")
    func expectedErrors() async throws {
        let metrics = TestMetrics()
        let address = try await TestServer.address()
        let configuration = try ZooKeeperConfiguration(servers: address, followsReconfiguration: false)
        try await ZooKeeperClient.withClient(configuration: configuration, metricsFactory: metrics) { client in
            #expect(try await client.exists("/none") == nil)
            #expect(try await client.get(["/none", "/"]).map { $0 == nil } == [true, false])
            var watch = client.dataUpdates(of: "/none").makeAsyncIterator()
            #expect(try await watch.next() == .some(nil))
            try await client.ensurePath("/a/b")
            try await client.deleteRecursively("/a")
            for operation in Request.names {
                let failures = try metrics.expectCounter("zookeeper_client_failures_total", [("operation", operation)])
                #expect(failures.totalValue == 0, "\(operation)")
            }
            await expect(.noNode) { _ = try await client.get("/none") }
            let failures = try metrics.expectCounter("zookeeper_client_failures_total", [("operation", "get")])
            #expect(failures.totalValue == 1)
        }
    }

    @Test("A create beyond a hard quota throws quotaExceeded, and a delete makes room")
    func hardQuota() async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.systemProperties["zookeeper.enforceQuota"] = "true"
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) { client in
                try await client.create("/q")
                let limits = "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3"
                try await client.create("/zookeeper/quota/q")
                try await client.multi([
                    .create("/zookeeper/quota/q/zookeeper_limits", data: Array(limits.utf8)),
                    .create("/zookeeper/quota/q/zookeeper_stats", data: Array("count=0,bytes=0".utf8)),
                ])
                // The node itself counts as one of the three.
                for name in ["a", "b"] { try await client.create("/q/\(name)") }
                let error = await #expect(throws: ZooKeeperError.self) { try await client.create("/q/c") }
                #expect(error?.code == .quotaExceeded && error?.outcome == .notApplied)
                #expect(error?.message.contains("raise the quota") == true)
                await expect(.quotaExceeded, outcome: .notApplied) {
                    try await client.multi([.check("/q"), .create("/q/c", data: [])])
                }
                try await client.delete("/q/a")
                try await client.create("/q/c")
            }
        }
    }

    @Test("Servers that require authentication refuse a client without it, and the error says so")
    func requiredAuthentication() async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.systemProperties["zookeeper.enforce.auth.enabled"] = "true"
        configuration.systemProperties["zookeeper.enforce.auth.schemes"] = "digest"
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            // Otherwise the client would read the ensemble's servers first, and the server would close the connection.
            let bare = try ZooKeeperConfiguration(servers: ensemble.connectString, followsReconfiguration: false)
            try await ZooKeeperClient.withClient(configuration: bare) { client in
                let error = await #expect(throws: ZooKeeperError.self) { try await client.create("/a") }
                #expect(error?.code == .sessionClosedRequireSaslAuth && error?.outcome == .notApplied)
                #expect(error?.message.contains("enforce.auth") == true)
            }
            let authenticated = try ZooKeeperConfiguration(
                servers: ensemble.connectString, authentication: .digest(user: "u", password: "p"))
            try await ZooKeeperClient.withClient(configuration: authenticated) { _ = try await $0.create("/a") }
        }
    }
}
