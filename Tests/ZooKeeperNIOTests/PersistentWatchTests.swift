import Testing
import TestSupport
import ZooKeeperNIO
import ZooKeeperServer

@testable import ZooKeeper

/// Persistent watches, which only SwiftNIO's transport has, on a real server.
@Suite(.timeLimit(.minutes(2)))
struct PersistentWatchTests {
    private func withClient(
        _ servers: String? = nil, transport: ZooKeeperTransport = .nio, _ name: String = #function,
        _ body: (ZooKeeperClient) async throws -> Void
    ) async throws {
        let address: String = if let servers { servers } else { try await TestServer.address(name) }
        let configuration = try ZooKeeperConfiguration(
            servers: address, transport: transport, followsReconfiguration: false, sessionTimeout: .seconds(5),
            requestTimeout: .seconds(20))
        try await ZooKeeperClient.withClient(configuration: configuration, body)
    }

    @Test("A recursive watch reports every change of a node and below it, in order, and nothing else")
    func recursive() async throws {
        try await withClient { client in
            var changes = client.changes(below: "/a").makeAsyncIterator()
            #expect(try await changes.next() == .restarted)
            _ = try await client.create("/a")
            _ = try await client.create("/ab")
            _ = try await client.create("/a/b")
            _ = try await client.create("/a/b/c", data: [1])
            try await client.set("/a/b/c", data: [2])
            try await client.set("/a/b/c", data: [3])
            try await client.delete("/a/b/c")
            try await client.set("/a", data: [4])
            let expected: [TreeChange] = [
                .created(path: "/a"), .created(path: "/a/b"), .created(path: "/a/b/c"), .dataChanged(path: "/a/b/c"),
                .dataChanged(path: "/a/b/c"), .deleted(path: "/a/b/c"), .dataChanged(path: "/a"),
            ]
            for change in expected { #expect(try await changes.next() == change) }
        }
    }

    @Test("A watch that is not recursive reports a node and its list of children, again and again")
    func singleNode() async throws {
        try await withClient { client in
            var changes = client.changes(below: "/a", recursively: false).makeAsyncIterator()
            #expect(try await changes.next() == .restarted)
            _ = try await client.create("/a")
            for name in ["b", "c"] {
                _ = try await client.create("/a/\(name)")
                try await client.set("/a/\(name)", data: [1])
            }
            try await client.delete("/a/b")
            #expect(try await changes.next() == .created(path: "/a"))
            for _ in 0..<3 { #expect(try await changes.next() == .childrenChanged(path: "/a")) }
        }
    }

    @Test("The root of a chroot is watched with all nodes below it, and paths are those of the client")
    func root() async throws {
        try await withClient { client in
            var changes = client.changes(below: "/").makeAsyncIterator()
            #expect(try await changes.next() == .restarted)
            _ = try await client.create("/x")
            #expect(try await changes.next() == .created(path: "/x"))
        }
    }

    @Test("After a lost connection and after an expired session the sequence says so, and goes on")
    func reconnection() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            try await withClient(ensemble.connectString) { client in
                var changes = client.changes(below: "/").makeAsyncIterator()
                #expect(try await changes.next() == .restarted)
                await ensemble.kill(0)
                try await ensemble.start(0)
                #expect(try await changes.next() == .restarted)
                _ = try await client.create("/a")
                #expect(try await changes.next() == .created(path: "/a"))
                try await expireSession(of: client)
                #expect(try await changes.next() == .restarted)
                // The expiry takes several connections, and each of them can restart the sequence.
                for number in 0..<100 {
                    _ = try await client.create("/b-\(number)")
                    if case .created = try await changes.next() { return }
                }
                Issue.record("No change was reported after the expiry.")
            }
        }
    }

    @Test("A recursive watch and a sequence of the same node's children do not end each other")
    func sameChildren() async throws {
        try await withClient { client in
            _ = try await client.create("/a")
            var children = client.childrenUpdates(of: "/a").makeAsyncIterator()
            #expect(try await children.next()??.names == [])
            // Servers before 3.9 have replaced the watch of the children.
            var changes = client.changes(below: "/a").makeAsyncIterator()
            #expect(try await changes.next() == .restarted)
            for name in ["b", "c", "d"] {
                _ = try await client.create("/a/\(name)")
                #expect(try await changes.next() == .created(path: "/a/\(name)"))
                #expect(try await children.next()??.names.contains(name) == true)
            }
        }
    }

    @Test("One client cannot watch a path both recursively and not, because a server may keep only one of the watches")
    func bothKinds() async throws {
        try await withClient { client in
            var changes = client.changes(below: "/a").makeAsyncIterator()
            #expect(try await changes.next() == .restarted)
            var others = client.changes(below: "/a", recursively: false).makeAsyncIterator()
            let error = await #expect(throws: ZooKeeperError.self) { try await others.next() }
            #expect(error?.code == .invalidArgument)
            #expect(try await others.next() == nil)
            _ = try await client.create("/a")
            #expect(try await changes.next() == .created(path: "/a"))
        }
    }

    @Test("No watch stays when a sequence is cancelled while it is set, or released without a connection")
    func lateRemoval() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            try await withClient(ensemble.connectString) { client in
                try await client.sync()
                func expectNoWatches(_ what: String) async throws {
                    let watches = client.connection.watches
                    try await withDeadline(what) {
                        // The table does not report that the server has confirmed a removal.
                        while watches.watchedBytes > 0 { try await Task.sleep(for: .milliseconds(10)) }
                    }
                    let answer = await FourLetterWord.ask("wchs", port: ensemble.ports[0]) ?? ""
                    #expect(answer.contains("Total watches:0"), "\(what): \(answer)")
                }
                await ensemble.pause(0)
                let task = Task { for try await _ in client.changes(below: "/a") {} }
                while client.connection.requests.read({ $0.inFlight == 0 }) {
                    // The client does not report what it has sent.
                    try await Task.sleep(for: .milliseconds(1))
                }
                task.cancel()
                try await task.value
                await ensemble.resume(0)
                try await client.sync()
                try await expectNoWatches("cancelled")

                var changes: TreeChanges.Iterator? = client.changes(below: "/a").makeAsyncIterator()
                _ = try await changes?.next()
                await ensemble.kill(0)
                for await state in client.sessionStates where state.phase != .connected { break }
                changes = nil
                try await ensemble.start(0)
                try await expectNoWatches("released without a connection")
            }
        }
    }

    @Test("A sequence of another kind on the same node does not end the persistent watch")
    func sameNode() async throws {
        try await withClient { client in
            _ = try await client.create("/a")
            var changes = client.changes(below: "/a").makeAsyncIterator()
            #expect(try await changes.next() == .restarted)
            var data = client.dataUpdates(of: "/a").makeAsyncIterator()
            #expect(try await data.next() != nil)
            // Servers before 3.9 have replaced the persistent watch.
            #expect(try await changes.next() == .restarted)
            for value in 1...3 as ClosedRange<UInt8> {
                try await client.set("/a", data: [value])
                #expect(try await data.next()??.data == [value])
            }
            #expect(try await changes.next() == .restarted)
            _ = try await client.create("/a/b")
            #expect(try await changes.next() == .created(path: "/a/b"))
        }
    }

    @Test("When an iterator is released, the server has no watch any more")
    func removal() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            try await withClient(ensemble.connectString) { client in
                @Sendable func watches() async -> String {
                    await FourLetterWord.ask("wchs", port: ensemble.ports[0]) ?? ""
                }
                for _ in 0..<3 {
                    var changes: TreeChanges.Iterator? = client.changes(below: "/").makeAsyncIterator()
                    _ = try await changes?.next()
                    #expect(await watches().contains("Total watches:1"))
                    changes = nil
                    try await withDeadline("no watch") {
                        // The table does not report that the server has confirmed a removal.
                        while client.connection.watches.watchedBytes > 0 {
                            try await Task.sleep(for: .milliseconds(10))
                        }
                    }
                    #expect(await watches().contains("Total watches:0"))
                }
            }
        }
    }

    @Test("A slow reader gets a restart instead of more than a thousand changes")
    func overflow() {
        let buffer = ChangeBuffer()
        #expect(buffer.take() == .restart)
        #expect(!buffer.append(.init(kind: .created, path: "/before-the-watch-was-set")))
        buffer.armed()
        #expect(buffer.take() == nil)
        for number in 0...ChangeBuffer.capacity {
            #expect(buffer.append(.init(kind: .created, path: "/\(number)")))
        }
        #expect(buffer.take() == .restart)
        buffer.armed()
        #expect(buffer.append(.init(kind: .deleted, path: "/a")))
        #expect(buffer.take() == .event(.init(kind: .deleted, path: "/a")))
    }

    @Test("The C client has neither persistent watches nor the session's identities, and the error says so")
    func cclient() async throws {
        try await withClient(transport: .cclient) { client in
            var changes = client.changes(below: "/").makeAsyncIterator()
            let error = await #expect(throws: ZooKeeperError.self) { try await changes.next() }
            #expect(error?.code == .unimplemented && error?.message.contains("transport") == true)
            let other = await #expect(throws: ZooKeeperError.self) { try await client.identities() }
            #expect(other?.code == .unimplemented)
        }
    }

    @Test("The identities of a session are its address and the user of its credentials")
    func identities() async throws {
        let configuration = try ZooKeeperConfiguration(
            servers: try await TestServer.address(), transport: .nio,
            authentication: .digest(user: "ann", password: "secret"))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let identities = try await client.identities()
            #expect(
                Set(identities) == [
                    ClientIdentity(scheme: "ip", user: "127.0.0.1"), ClientIdentity(scheme: "digest", user: "ann"),
                ])
        }
    }
}
