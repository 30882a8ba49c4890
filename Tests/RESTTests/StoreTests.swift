import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST

/// Tests the store over each kind of gateway, on a real server.
@Suite(.timeLimit(.minutes(3)))
struct StoreTests {
    @Test("Nodes are created, read, written, listed and deleted", arguments: GatewayKind.allCases)
    func nodes(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            let created = try await store.create("/a", data: [0, 255, 10], mode: .persistent)
            #expect(created.path == "/a" && created.stat.czxid > 0)
            let node = try await store.get("/a")
            #expect(node.data == [0, 255, 10] && node.stat == created.stat)
            let stat = try await store.set("/a", data: [], version: 0)
            #expect(stat.version == 1 && stat.mzxid > created.stat.mzxid)
            let empty = try await store.get("/a")
            #expect(empty.data == [])
            let escaped = "/a/ü %?&=+#"
            _ = try await store.create(escaped, data: nil, mode: .persistent)
            let null = try await store.get(escaped)
            #expect(null.data == nil)
            let first = try await store.create("/a/n-", data: [], mode: .persistentSequential)
            let second = try await store.create("/a/n-", data: [], mode: .persistentSequential)
            #expect([first.path, second.path] == ["/a/n-0000000001", "/a/n-0000000002"])
            let children = try await store.children(of: "/a")
            #expect(children.names.sorted() == ["n-0000000001", "n-0000000002", "ü %?&=+#"])
            #expect(children.stat.numChildren == 3)
            let several = try await store.get(["/a", "/none", escaped])
            #expect(several.map { $0 != nil } == [true, false, true])
            try await store.sync("/a")
            try await store.delete(escaped, version: 0)
            let deleted = try await store.exists(escaped)
            #expect(deleted == nil)
        }
    }

    @Test("A refused call throws the matching code and the outcome notApplied", arguments: GatewayKind.allCases)
    func refusals(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            func code(_ body: () async throws -> Void) async -> ZooKeeperError.Code? {
                do {
                    try await body()
                    return nil
                } catch {
                    #expect((error as? ZooKeeperError)?.outcome == .notApplied, "\(error)")
                    return (error as? ZooKeeperError)?.code
                }
            }
            _ = try await store.create("/a", data: [], mode: .persistent)
            _ = try await store.create("/a/b", data: [], mode: .persistent)
            #expect(await code { _ = try await store.create("/a", data: [], mode: .persistent) } == .nodeExists)
            #expect(await code { _ = try await store.create("/x/y", data: [], mode: .persistent) } == .noNode)
            #expect(await code { _ = try await store.get("/x") } == .noNode)
            #expect(await code { _ = try await store.set("/a", data: [], version: 7) } == .badVersion)
            #expect(await code { try await store.delete("/a", version: nil) } == .notEmpty)
            #expect(await code { try await store.delete("/x", version: nil) } == .noNode)
            #expect(await code { _ = try await store.get("/a/../b") } == .invalidArgument)
            #expect(await code { _ = try await store.create("/c", data: [], mode: .container) } == .invalidArgument)
            let large = [UInt8](repeating: 0, count: 600_000)
            #expect(await code { _ = try await store.set("/a", data: large, version: nil) } == .requestTooLarge)
        }
    }

    @Test("A payload of 510 kB fits into a request", arguments: GatewayKind.allCases)
    func largePayload(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            // In base64, these bytes are longer by a third, and all are slashes.
            let large = [UInt8](repeating: 0xFF, count: 510_000)
            _ = try await store.create("/large", data: large, mode: .persistent)
            let results = try await store.multi([.set("/large", data: large)])
            let node = try await store.get("/large")
            #expect(results.count == 1 && node.data == large)
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            try await producer.send(OutgoingMessage(large))
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try await messages.next(within: .seconds(30))
            #expect(message?.payload == large)
            try await message?.acknowledge()
            await consumer.close()
        }
    }

    @Test("Paths that are equal as strings, but not as bytes, are two nodes", arguments: GatewayKind.allCases)
    func pathsAreBytes(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            let (composed, decomposed) = ("/\u{E9}", "/e\u{301}")
            _ = try await store.create(composed, data: [1], mode: .persistent)
            _ = try await store.create(decomposed, data: [2], mode: .persistent)
            _ = try await store.set(composed, data: [3], version: 0)
            _ = try await store.multi([
                .set(composed, data: [4], version: 1), .set(decomposed, data: [5], version: 0),
            ])
            let nodes = try await store.get([composed, decomposed])
            #expect(nodes.map { $0?.data } == [[4], [5]])
        }
    }

    @Test("A transaction applies all of its operations, or none", arguments: GatewayKind.allCases)
    func transactions(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            _ = try await store.create("/old", data: [1], mode: .persistent)
            _ = try await store.create("/sequence", data: [], mode: .persistent)
            let capabilities = try await store.capabilities
            #expect(capabilities == (kind == .standard ? [] : [.transactions, .watches, .quotas, .multiRead]))
            let results = try await store.multi([
                .set("/sequence", data: [7], version: 0), .check("/old", version: 0), .delete("/old", version: 0),
                .create("/new", data: [1]), .create("/n-", data: [], mode: .persistentSequential),
                .create("/guard", data: []), .delete("/guard"),
            ])
            guard case .set(let stat) = results[0], case .created(let numbered) = results[4] else {
                Issue.record("\(results)")
                return
            }
            #expect(stat.version == 1 && numbered.hasPrefix("/n-00000000"))
            // Without extensions, this holds only while no other client writes to these nodes.
            do {
                _ = try await store.multi([
                    .create("/second", data: []), .delete("/new", version: 0), .set("/sequence", data: [], version: 0),
                ])
                Issue.record("A wrong version was accepted.")
            } catch let error as ZooKeeperError {
                #expect(error.code == .badVersion && error.operationIndex == 2 && error.outcome == .notApplied)
            }
            let names = try await store.children(of: "/").names.sorted()
            #expect(names == [String(numbered.dropFirst()), "new", "sequence"])
        }
    }

    @Test("A capacity in bytes requires a gateway with extensions", arguments: GatewayKind.allCases)
    func capacityInBytes(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            let queue = try MessageQueue(store: store)
            do {
                try await queue.update { $0.capacity = .init(bytes: 1_000) }
                #expect(kind == .extensions)
            } catch let error as QueueError {
                #expect(kind == .standard && error.code == .invalidArgument, "\(error)")
            }
            let capacity = try await queue.attributes().capacity
            #expect(capacity.bytes == (kind == .standard ? nil : 1_000))
        }
    }

    @Test("Updates report the changes of a node, and of its parent's children", arguments: GatewayKind.allCases)
    func updates(_ kind: GatewayKind) async throws {
        try await withStore(kind) { store in
            try await withDeadline("a change") {
                var nodes = store.dataUpdates(of: "/a").makeAsyncIterator()
                var names = store.childrenUpdates(of: "/").makeAsyncIterator()
                let absent = try await nodes.next(isolation: nil)
                #expect(absent == .some(nil))
                let before = try await names.next(isolation: nil)??.names ?? []
                _ = try await store.create("/a", data: [1], mode: .persistent)
                let created = try await nodes.next(isolation: nil)
                #expect(created??.data == [1])
                let after = try await names.next(isolation: nil)??.names ?? []
                #expect(Set(after).subtracting(before) == ["a"])
                _ = try await store.set("/a", data: [2], version: nil)
                let changed = try await nodes.next(isolation: nil)
                #expect(changed??.data == [2])
                try await store.delete("/a", version: nil)
                let deleted = try await nodes.next(isolation: nil)
                #expect(deleted == .some(nil))
            }
        }
    }

    @Test("An ephemeral node belongs to the store's session, and ends with it", arguments: GatewayKind.allCases)
    func ephemeralNode(_ kind: GatewayKind) async throws {
        let servers = try await TestServer.address()
        try await withGateway(kind, servers: servers) { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: servers)) { zookeeper in
                try await withStore(kind, at: gateway) { store in
                    let created = try await store.create("/e", data: [], mode: .ephemeral)
                    #expect(created.stat.ephemeralOwner == store.sessionState.sessionID)
                    #expect(store.sessionState.phase == .connected)
                    #expect(store.sessionState.timeout == .seconds(4))
                    let before = try await zookeeper.exists("/e")
                    #expect(before != nil)
                }
                let after = try await zookeeper.exists("/e")
                #expect(after == nil)
            }
        }
    }

    @Test("A gateway without extensions is refused by default")
    func missingExtensions() async throws {
        try await withGateway(.standard, servers: try await TestServer.address()) { gateway in
            try await withStore(.extensions, at: gateway) { store in
                let error = await #expect(throws: ZooKeeperError.self) { _ = try await store.exists("/") }
                #expect(error?.code == .unimplemented && error?.message.contains("RESTConfiguration.guarantee") == true)
            }
        }
    }

    @Test("A store uses advertised extensions even when it does not require them")
    func optionalExtensions() async throws {
        try await withGateway(.extensions, servers: try await TestServer.address()) { gateway in
            try await withStore(.standard, at: gateway) { store in
                let capabilities = try await store.capabilities
                #expect(capabilities.contains(.transactions))
            }
        }
    }

    @Test("An invalid gateway address is refused")
    func addresses() {
        for gateways in [[], ["127.0.0.1:9998"], ["ftp://a"], ["http://u:p@a"], ["http://a?b"]] {
            #expect(throws: ZooKeeperError.self) { _ = try RESTNodeStore(.init(gateways: gateways)) }
        }
    }

    @Test("A call times out when no gateway can be reached, and was not applied")
    func unreachableGateway() async throws {
        try await withStore(
            .extensions, at: "http://127.0.0.1:1", configure: { $0.requestTimeout = .milliseconds(300) }
        ) { store in
            let error = await #expect(throws: ZooKeeperError.self) {
                _ = try await store.create("/a", data: [], mode: .persistent)
            }
            #expect(error?.code == .deadlineExceeded && error?.outcome == .notApplied)
        }
    }
}
