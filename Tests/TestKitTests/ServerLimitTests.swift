import Testing
import TestSupport
@testable import ZooKeeper
import ZooKeeperServer
import ZooKeeperTestKit

/// The in-memory ZooKeeper has the limits and the housekeeping of a real server that is configured for the test.
@Suite(.timeLimit(.minutes(2)))
struct ServerLimitTests {
    /// Starts a real server with a system property, and calls `body` with a client on it.
    private func withServer(
        _ property: String, _ value: String, _ body: (ZooKeeperClient) async throws -> Void
    ) async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.systemProperties[property] = value
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let configuration = try ZooKeeperConfiguration(servers: ensemble.connectString)
            try await ZooKeeperClient.withClient(configuration: configuration, body)
        }
    }

    /// Applies the operations as one transaction.
    private func outcome(of operations: [ZooKeeperOperation], _ machine: any Machine) async throws -> String {
        do {
            _ = try await machine.multi(operations)
            return "applied"
        } catch let error as ZooKeeperError {
            return "\(error.code.rawValue) at \(error.operationIndex.map(String.init) ?? "-")"
        }
    }

    // MARK: Hard quotas

    private static let quotaSetup: [ZooKeeperOperation] = [
        .create("/q", data: [0]), .create("/q/a", data: bytes(10)), .create("/q/b", data: nil),
        .create("/q/c", data: nil), .create("/qq", data: bytes(99)),
    ]

    /// The quota allows four nodes at and below `/q`, with 30 bytes. At first there are four nodes, with 11 bytes.
    private static let quotaProgram: [(operations: [ZooKeeperOperation], outcome: String)] = [
        ([.create("/q/d", data: nil)], "-125 at 0"),
        ([.create("/qq/d", data: bytes(99))], "applied"),
        ([.create("/q/a", data: nil)], "-110 at 0"),
        ([.create("/q/none/d", data: nil)], "-101 at 0"),
        // The delete in the same transaction makes no room.
        ([.delete("/q/b"), .create("/q/d", data: nil)], "-125 at 1"),
        ([.create("/q/d", data: nil), .delete("/q/b")], "-125 at 0"),
        ([.delete("/q/b")], "applied"),
        // There is room for one node, and each create is compared with the tree before the transaction.
        ([.delete("/q/c"), .create("/q/d", data: nil), .create("/q/e", data: nil)], "applied"),
        ([.delete("/q/e")], "applied"),
        ([.set("/q/a", data: bytes(29))], "applied"),
        ([.set("/q/a", data: bytes(30))], "-125 at 0"),
        // The server checks the quota before the version.
        ([.set("/q/a", data: bytes(30), version: 77)], "-125 at 0"),
        ([.set("/q/a", data: bytes(10))], "applied"),
        // The growth of a set counts from the size within the transaction, and is added to the usage before it.
        ([.set("/q/a", data: []), .set("/q/a", data: bytes(25))], "-125 at 1"),
        ([.set("/q/a", data: []), .set("/q/a", data: bytes(19))], "applied"),
        ([.create("/q/x", data: bytes(10)), .set("/q/x", data: bytes(20))], "applied"),
        // Now there are 40 bytes. A set that keeps the size is applied, and one that shrinks the data is refused too.
        ([.set("/q/a", data: bytes(19))], "applied"),
        ([.set("/q/a", data: bytes(18))], "-125 at 0"),
        ([.delete("/q/x"), .set("/q/a", data: bytes(18))], "-125 at 1"),
        ([.delete("/q/x")], "applied"),
        ([.set("/q/a", data: bytes(1))], "applied"),
    ]

    private static func bytes(_ count: Int) -> [UInt8] { Array(repeating: 7, count: count) }

    @Test("A hard quota works as on a real server: a delete makes no room for a create of the same transaction")
    func hardQuota() async throws {
        let zookeeper = InMemoryZooKeeper()
        let inMemory = InMemoryMachine(session: zookeeper.connect())
        _ = try await inMemory.multi(Self.quotaSetup)
        zookeeper.setHardQuota(path: "/q", count: 4, bytes: 30)
        for (operations, expected) in Self.quotaProgram {
            #expect(try await outcome(of: operations, inMemory) == expected, "in memory: \(operations)")
        }
        await inMemory.end()

        try await withServer("zookeeper.enforceQuota", "true") { client in
            let real = RealMachine(client: client)
            _ = try await real.multi(Self.quotaSetup)
            let limits = "count=-1,bytes=-1=;byteHardLimit=30=;countHardLimit=4"
            _ = try await real.multi([
                .create("/zookeeper/quota/q", data: nil),
                .create("/zookeeper/quota/q/zookeeper_limits", data: Array(limits.utf8)),
                .create("/zookeeper/quota/q/zookeeper_stats", data: Array("count=0,bytes=0".utf8)),
            ])
            for (operations, expected) in Self.quotaProgram {
                #expect(try await outcome(of: operations, real) == expected, "real: \(operations)")
            }
        }
    }

    // MARK: The servers' jute.maxbuffer

    /// Expects that the largest packet is accepted, and that one more byte breaks the connection but not the session.
    private func expectLimit(_ limit: Int, _ machine: any Machine, _ comment: Comment) async throws {
        func create(_ path: String, packet size: Int) async throws {
            let empty = Request.create(path: path, data: [], mode: .persistent, acl: .open).encodedSize
            let data = Self.bytes(size - empty)
            _ = try await machine.create(path, data: data, mode: .persistent)
        }
        let session = machine.sessionID
        try await create("/fits", packet: limit)
        for _ in 1...2 {
            let error = await #expect(throws: ZooKeeperError.self, comment) {
                try await create("/large", packet: limit + 1)
            }
            #expect(error?.code == .connectionLoss && error?.outcome == .unknown, comment)
            #expect(try await machine.stat("/large", watch: false) == nil, comment)
            #expect(machine.sessionID == session, comment)
        }
    }

    @Test("A request above the servers' jute.maxbuffer breaks the connection each time, and the session stays")
    func packetLimit() async throws {
        let limit = 20_000
        let zookeeper = InMemoryZooKeeper()
        zookeeper.maximumPacketSize = limit
        let inMemory = InMemoryMachine(session: zookeeper.connect())
        try await expectLimit(limit, inMemory, "in memory")
        await inMemory.end()
        try await withServer("jute.maxbuffer", String(limit)) { client in
            try await client.sync()
            try await expectLimit(limit, RealMachine(client: client), "real")
        }
    }

    // MARK: Containers

    /// Creates containers, removes the empty ones with `remove`, and returns the names of the remaining nodes.
    private func remaining(on machine: any Machine, _ remove: () async throws -> Void) async throws -> [String] {
        for path in ["/unused", "/used", "/outer", "/full"] {
            _ = try await machine.create(path, data: nil, mode: .container)
        }
        _ = try await machine.create("/outer/inner", data: nil, mode: .container)
        for path in ["/used/x", "/outer/inner/x", "/full/x"] {
            _ = try await machine.create(path, data: nil, mode: .persistent)
        }
        let signal = WatchSignal()
        machine.table.add(signal, for: [WatchKey(kind: .existence, path: machine.full("/used"))])
        _ = try await machine.stat("/used", watch: true)
        for path in ["/used/x", "/outer/inner/x"] { try await machine.delete(path, version: nil) }
        try await remove()
        try await machine.sync("/")
        #expect(signal.isRaised)
        return try await machine.children("/", watch: false).names.filter { $0 != "zookeeper" }.sorted()
    }

    @Test("The servers remove a container that has lost its last child, and no other container")
    func removedContainers() async throws {
        let zookeeper = InMemoryZooKeeper()
        let session = zookeeper.connect()
        let names = try await remaining(on: InMemoryMachine(session: session)) {
            zookeeper.removeEmptyContainers()
            // A container that becomes empty by this is removed at the next call.
            #expect(zookeeper.nodes["/outer"] != nil && zookeeper.nodes["/outer/inner"] == nil)
            zookeeper.removeEmptyContainers()
        }
        #expect(names == ["full", "unused"])
        session.close()
        try await withServer("znode.container.checkIntervalMs", "200") { client in
            let names = try await remaining(on: RealMachine(client: client)) {
                for path in ["/used", "/outer"] {
                    for try await stat in client.statUpdates(of: path) where stat == nil { break }
                }
            }
            #expect(names == ["full", "unused"])
        }
    }

    // MARK: The leader's clock

    @Test("A jump of the leader's clock changes the times of nodes, but neither sessions nor the monotonic clock")
    func clockJump() async throws {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let session = zookeeper.connect()
        let created = try await session.create("/a", data: nil, mode: .persistent).stat.ctime
        let now = session.now
        zookeeper.jumpServerClock(by: .seconds(3_600))
        #expect(try await session.set("/a", data: nil, version: nil).mtime == created + 3_600_000)
        zookeeper.jumpServerClock(by: .seconds(-7_200))
        #expect(try await session.set("/a", data: nil, version: nil).mtime == created - 3_600_000)
        #expect(session.now == now && session.sessionState.phase == .connected)
    }

    // MARK: Unreadable nodes

    @Test("A node without read permission can be listed, set and deleted, but not read, as on a real server")
    func unreadableNode() async throws {
        let real = RealMachine(
            client: try ZooKeeperClient(configuration: .init(servers: try await TestServer.address())))
        let existsNeedsRead = try await ServerKind.existsNeedsRead()
        let zookeeper = InMemoryZooKeeper()
        zookeeper.existsNeedsRead = existsNeedsRead
        let inMemory = InMemoryMachine(session: zookeeper.connect())
        for machine in [real, inMemory] as [any Machine] {
            _ = try await machine.multi([
                .create("/p", data: nil),
                .create("/p/a", data: [1], acl: [.world(ACL.Permissions.all.subtracting(.read))]),
                .create("/p/secret", data: [1], acl: [.world(.write)]),
            ])
            for refused in [
                { _ = try await machine.node("/p/a", watch: false) },
                { _ = try await machine.children("/p/a", watch: false) },
                { _ = try await machine.multi([.check("/p/a", version: nil)]) },
                { _ = try await machine.acl("/p/secret") },
                { try await machine.setACL("/p/secret", .open, version: nil) },
                { _ = try await machine.create("/p/secret/x", data: nil, mode: .persistent) },
            ] as [() async throws -> Void] {
                let error = await #expect(throws: ZooKeeperError.self) { try await refused() }
                #expect(error?.code == .noAuth)
            }
            if existsNeedsRead {
                let error = await #expect(throws: ZooKeeperError.self) {
                    _ = try await machine.stat("/p/a", watch: false)
                }
                #expect(error?.code == .noAuth)
            } else {
                #expect(try await machine.stat("/p/a", watch: false)?.dataLength == 1)
            }
            #expect(try await machine.children("/p", watch: false).names.sorted() == ["a", "secret"])
            #expect(try await machine.acl("/p/a").map(\.permissions) == [ACL.Permissions.all.subtracting(.read)])
            #expect(try await machine.set("/p/a", data: [2], version: 0).version == 1)
            for path in ["/p/a", "/p/secret"] { try await machine.delete(path, version: nil) }
            await machine.end()
        }
    }

    @Test("A session that may not change an access control list does not see its passwords")
    func maskedPasswords() async throws {
        let zookeeper = InMemoryZooKeeper()
        let owner = zookeeper.connect(identities: [AuthInfo(scheme: "digest", id: "owner:hash")])
        _ = try await owner.multi([.create("/a", data: nil, acl: [.creator(.all), .world(.read)])])
        #expect(try await owner.aclEntries(of: "/a")?.first?.id == "owner:hash")
        #expect(try await zookeeper.connect().aclEntries(of: "/a")?.first?.id == "owner:x")
    }
}
