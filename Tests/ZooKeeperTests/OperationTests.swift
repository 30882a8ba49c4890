import Testing
import TestSupport

@testable import ZooKeeper

@Suite(.timeLimit(.minutes(2)))
struct OperationTests {
    @Test("Each create mode creates its kind of node")
    func createModes() async throws {
        try await withTestClient { client in
            let plain = try await client.create("/a", data: [1, 2]).stat
            #expect(plain.dataLength == 2 && plain.version == 0 && plain.ephemeralOwner == 0)
            #expect(plain.czxid == plain.mzxid && plain.ctime > 1_600_000_000_000)
            let ephemeral = try await client.create("/e", mode: .ephemeral)
            #expect(ephemeral.stat.ephemeralOwner == client.sessionState.sessionID)
            let first = try await client.create("/s-", mode: .persistentSequential).path
            let second = try await client.create("/s-", mode: .ephemeralSequential).path
            #expect(first.hasPrefix("/s-00000000") && second > first)
            #expect(try await client.create("/c", mode: .container).path == "/c")
            let timed = try await client.create("/t", mode: .persistent(timeToLive: .seconds(60)))
            #expect(timed.path == "/t")
            let numbered = try await client.create("/t-", mode: .persistentSequential(timeToLive: .seconds(60)))
            #expect(numbered.path.hasPrefix("/t-0"))
            let bare = try await client.create("/a/", mode: .persistentSequential)
            #expect(bare.path == "/a/0000000000")
        }
    }

    @Test("Null data and empty data stay different")
    func nullAndEmptyData() async throws {
        try await withTestClient { client in
            try await client.create("/null", data: nil)
            try await client.create("/empty", data: [])
            #expect(try await client.get("/null").data == nil)
            #expect(try await client.get("/empty").data == [])
            try await client.set("/empty", data: nil)
            #expect(try await client.get("/empty").data == nil)
            try await client.multi([.create("/m", data: nil), .create("/n", data: []), .set("/null", data: [])])
            #expect(try await client.get("/m").data == nil)
            #expect(try await client.get("/n").data == [])
            #expect(try await client.get("/null").data == [])
        }
    }

    @Test("A node returns exactly the bytes that were written")
    func arbitraryBytes() async throws {
        try await withTestClient { client in
            let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try await client.create("/big", data: bytes)
            #expect(try await client.get("/big").data == bytes)
            let stat = try await client.set("/big", data: [0], version: 0)
            #expect(stat.version == 1 && stat.dataLength == 1)
            #expect(try await client.exists("/big") == stat)
        }
    }

    @Test("A refused call throws an error with the server's code")
    func errorCodes() async throws {
        try await withTestClient { client in
            try await client.create("/a")
            try await client.create("/a/b")
            try await client.create("/e", mode: .ephemeral)
            await expect(.noNode, outcome: .notApplied) { _ = try await client.get("/none") }
            await expect(.noNode) { try await client.delete("/none") }
            await expect(.noNode) { try await client.set("/none", data: []) }
            await expect(.noNode) { _ = try await client.children(of: "/none") }
            await expect(.noNode) { try await client.create("/none/child") }
            await expect(.nodeExists) { try await client.create("/a") }
            await expect(.notEmpty) { try await client.delete("/a") }
            await expect(.badVersion) { try await client.set("/a", data: [], version: 7) }
            await expect(.badVersion) { try await client.delete("/a/b", version: 7) }
            await expect(.noChildrenForEphemerals) { try await client.create("/e/child") }
            #expect(try await client.exists("/none") == nil)
        }
    }

    @Test("A list of children comes with the metadata of the parent")
    func childrenWithStat() async throws {
        try await withTestClient { client in
            for name in ["/x", "/y", "/z"] { try await client.create(name) }
            let children = try await client.children(of: "/")
            #expect(children.names.sorted() == ["x", "y", "z"])
            #expect(children.stat.numChildren == 3)
        }
    }

    @Test("Access control lists can be read and set, and the server enforces them")
    func accessControlLists() async throws {
        try await withTestClient { client in
            try await client.create("/open")
            #expect(try await client.acl(of: "/open").entries == .open)
            try await client.setACL(of: "/open", to: [.world([.read, .admin])], version: 0)
            let acl = try await client.acl(of: "/open")
            #expect(acl.entries == [.world([.read, .admin])] && acl.stat.aversion == 1)
            await expect(.noAuth) { try await client.set("/open", data: [1]) }
            await expect(.badVersion) { try await client.setACL(of: "/open", to: .open, version: 9) }
            await expect(.invalidACL) { try await client.create("/mine", acl: .creatorOnly) }
        }
    }

    @Test("A node for its creator only is readable with the same digest credentials, and not without them")
    func digestAuthentication() async throws {
        let address = try await TestServer.address()
        let authentication = try ZooKeeperConfiguration.Authentication(parsing: "ann:secret:with:colons")
        #expect(!"\(authentication)".contains("secret"))
        let mine = try ZooKeeperConfiguration(
            servers: address, authentication: authentication, defaultACL: .creatorOnly)
        try await ZooKeeperClient.withClient(configuration: mine) { client in
            try await client.create("/mine", data: [1])
            try await client.multi([.create("/too", data: [2])])
            #expect(try await client.acl(of: "/too").entries.first?.scheme == "digest")
        }
        try await ZooKeeperClient.withClient(configuration: mine) { client in
            let node = try await client.get("/mine")
            #expect(node.data == [1])
        }
        try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { client in
            await expect(.noAuth) { _ = try await client.get("/mine") }
            await expect(.noAuth) { _ = try await client.get("/too") }
        }
    }

    @Test("A multi applies all operations or none, and its error names the operation that failed")
    func atomicMulti() async throws {
        try await withTestClient { client in
            try await client.create("/a")
            let results = try await client.multi([
                .check("/a", version: 0), .create("/a/n-", data: [1], mode: .persistentSequential),
                .create("/a/n-", data: [2], mode: .persistentSequential), .set("/a", data: [9], version: 0),
                .create("/b", data: []), .delete("/b"),
            ])
            #expect(results[0] == .checked)
            #expect(results[1] == .created(path: "/a/n-0000000000"))
            #expect(results[2] == .created(path: "/a/n-0000000001"))
            guard case .set(let stat) = results[3] else {
                Issue.record("The result of the set has no metadata.")
                return
            }
            #expect(stat.version == 1)
            #expect(results[4] == .created(path: "/b") && results[5] == .deleted)
            #expect(try await client.exists("/a/n-0000000001")?.czxid == stat.mzxid)

            let error = await #expect(throws: ZooKeeperError.self) {
                try await client.multi([
                    .create("/c", data: []), .check("/a", version: 1), .delete("/a/none"), .create("/d", data: []),
                ])
            }
            #expect(error?.code == .noNode && error?.operationIndex == 2 && error?.path == "/a/none")
            #expect(error?.outcome == .notApplied)
            #expect(try await client.exists("/c") == nil)
        }
    }

    @Test("The total size of the paths of a session's ephemeral nodes is limited")
    func ephemeralLimit() async throws {
        try await withTestClient { client in
            let name = "/" + String(repeating: "e", count: 4_000)
            var created: [String] = []
            await expect(.tooManyEphemerals, outcome: .notApplied) {
                for index in 0..<200 {
                    created.append(try await client.create("\(name)\(index)", mode: .ephemeral).path)
                }
            }
            // The limit counts the chroot too, which the test's own name lengthens.
            #expect(created.count > 110 && created.count < 130)
            // A failed create costs nothing, and a deleted node makes room.
            await expect(.nodeExists) { try await client.create("/", mode: .ephemeral) }
            try await client.delete(created.removeLast())
            try await client.multi([.create(name + "-", data: [], mode: .ephemeralSequential)])
            try await client.multi(created.map { .delete($0) })
            #expect(client.ephemerals.bytes < 5_000)
        }
    }

    @Test("sync returns, with and without a path")
    func syncReturns() async throws {
        try await withTestClient { client in
            try await client.create("/a")
            try await client.sync("/a")
            try await client.sync()
        }
    }

    @Test("A thousand concurrent calls all succeed")
    func concurrentCalls() async throws {
        try await withTestClient { client in
            try await withThrowingTaskGroup(of: String.self) { group in
                for index in 0..<1_000 {
                    group.addTask {
                        try await client.create("/n-", data: [UInt8(index & 255)], mode: .persistentSequential).path
                    }
                }
                var paths: Set<String> = []
                for try await path in group { paths.insert(path) }
                #expect(paths.count == 1_000)
            }
            #expect(try await client.children(of: "/").names.count == 1_000)
        }
    }

    @Test("The caller sees the chroot neither in paths nor in errors")
    func invisibleChroot() async throws {
        let address = try await TestServer.address()
        let root = try ServerAddress(address)
        try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { inner in
            #expect(try await inner.create("/a").path == "/a")
            #expect(try await inner.create("/a/n-", mode: .persistentSequential).path == "/a/n-0000000000")
            #expect(try await inner.create("/", mode: .persistentSequential).path == "/0000000001")
            #expect(try await inner.exists("/")?.numChildren == 2)
            // Without its leading slash, the path would name a node beside the chroot.
            await expect(.invalidArgument) { try await inner.create("beside") }
            var watch = inner.dataUpdates(of: "beside").makeAsyncIterator()
            await expect(.invalidArgument) { _ = try await watch.next() }
            let error = await #expect(throws: ZooKeeperError.self) { try await inner.get("/none") }
            #expect(error?.path == "/none")
            try await ZooKeeperClient.withClient(configuration: .init(servers: root.servers)) { outer in
                let stat = try await outer.exists(root.chroot + "/a")
                #expect(stat != nil)
            }
        }
    }
}

/// The servers and the chroot of a test's connect string.
struct ServerAddress {
    let servers: String
    let chroot: String
    init(_ address: String) throws {
        let slash = try #require(address.firstIndex(of: "/"))
        servers = String(address[..<slash])
        chroot = String(address[slash...])
    }
}

/// Expects a ``ZooKeeperError`` with the code, and with the outcome if one is given.
func expect(
    _ code: ZooKeeperError.Code, outcome: ZooKeeperError.Outcome? = nil,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("Threw no error instead of \(code).", sourceLocation: sourceLocation)
    } catch let error as ZooKeeperError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        if let outcome { #expect(error.outcome == outcome, "\(error)", sourceLocation: sourceLocation) }
    } catch {
        Issue.record("Threw \(error) instead of \(code).", sourceLocation: sourceLocation)
    }
}
