import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper

@Suite(.timeLimit(.minutes(2)))
struct WatchTests {
    @Test("dataUpdates yields the current state, and the new one after each change")
    func dataUpdates() async throws {
        try await withTestClient { client in
            var watch = client.dataUpdates(of: "/a").makeAsyncIterator()
            #expect(try await watch.next() == .some(nil))
            try await client.create("/a", data: [1])
            #expect(try await watch.next()??.data == [1])
            try await client.set("/a", data: [2])
            #expect(try await watch.next()??.data == [2])
            try await client.delete("/a")
            #expect(try await watch.next() == .some(nil))
        }
    }

    @Test("The newest state replaces states that were not read")
    func newestState() async throws {
        try await withTestClient { client in
            try await client.create("/a", data: [0])
            var watch = client.dataUpdates(of: "/a").makeAsyncIterator()
            _ = try await watch.next()
            for value in 1...50 { try await client.set("/a", data: [UInt8(value)]) }
            #expect(try await watch.next()??.data == [50])
        }
    }

    @Test("childrenUpdates and statUpdates follow the creation and deletion of nodes")
    func childrenAndStat() async throws {
        try await withTestClient { client in
            var children = client.childrenUpdates(of: "/p").makeAsyncIterator()
            var existence = client.statUpdates(of: "/p").makeAsyncIterator()
            #expect(try await children.next() == .some(nil))
            #expect(try await existence.next() == .some(nil))
            try await client.create("/p")
            #expect(try await children.next()??.names == [])
            #expect(try await existence.next()??.numChildren == 0)
            try await client.create("/p/x")
            #expect(try await children.next()??.names == ["x"])
            try await client.multi([.delete("/p/x"), .delete("/p")])
            #expect(try await children.next() == .some(nil))
            #expect(try await existence.next() == .some(nil))
        }
    }

    @Test("Watch sequences continue after the session has expired")
    func expiredSession() async throws {
        try await withTestClient { client in
            try await client.create("/a", data: [1])
            var data = client.dataUpdates(of: "/a").makeAsyncIterator()
            var children = client.childrenUpdates(of: "/").makeAsyncIterator()
            _ = try await (data.next(), children.next())
            try await expireSession(of: client)
            for await state in client.sessionStates where state.expirations == 1 && state.phase == .connected { break }
            try await client.create("/b")
            try await client.set("/a", data: [2])
            #expect(try await data.next()??.data == [2])
            #expect(try await children.next()??.names.sorted() == ["a", "b"])
        }
    }

    @Test("Watch sequences continue after a restart of the server")
    func serverRestart() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(servers: ensemble.connectString)
            try await ZooKeeperClient.withClient(configuration: configuration) { client in
                try await client.create("/a", data: [1])
                var watch = client.dataUpdates(of: "/a").makeAsyncIterator()
                _ = try await watch.next()
                await ensemble.kill(0)
                try await ensemble.start(0)
                try await client.set("/a", data: [2])
                #expect(try await watch.next()??.data == [2])
            }
        }
    }

    @Test("Two canonically equivalent paths are two nodes with two watches")
    func equivalentPaths() async throws {
        let (composed, decomposed) = ("/caf\u{E9}", "/cafe\u{301}")
        #expect(composed == decomposed)
        try await withTestClient(followsReconfiguration: false) { client in
            try await client.create(composed, data: [1])
            try await client.create(decomposed, data: [2])
            var watches = [composed, decomposed].map { client.dataUpdatesUntilDeleted(of: $0).makeAsyncIterator() }
            for index in watches.indices { #expect(try await watches[index].next()??.data == [UInt8(index + 1)]) }
            let table = client.connection.watches
            #expect(table.interestCount == 4)
            // An event on one path uses up the watch of that path only.
            let bytes = table.watchedBytes
            try await client.set(composed, data: [3])
            #expect(try await watches[0].next()??.data == [3])
            #expect(table.watchedBytes == bytes)
            try await client.delete(decomposed)
            #expect(try await watches[1].next() == .some(nil))
            #expect(try await client.children(of: "/").names.map { ExactString($0) } == ["caf\u{E9}"])
        }
    }

    @Test("Cancellation ends a watch sequence and removes its interest")
    func cancelledSequence() async throws {
        try await withTestClient { client in
            try await client.create("/a")
            let task = Task {
                var count = 0
                for try await _ in client.dataUpdates(of: "/a") { count += 1 }
                return count
            }
            while client.connection.watches.watchedBytes == 0 { await Task.yield() }
            task.cancel()
            #expect(try await task.value <= 1)
            #expect(client.connection.watches.interestCount == 0)
        }
    }

    @Test("A released iterator removes its interest, and its watch goes with the next event")
    func releasedIterator() async throws {
        // The client's own watch on the ensemble's configuration would count too.
        try await withTestClient(followsReconfiguration: false) { client in
            for index in 0..<100 {
                var watch = client.dataUpdates(of: "/n\(index)").makeAsyncIterator()
                _ = try await watch.next()
            }
            #expect(client.connection.watches.interestCount == 0)
            // The C client drops its watches when their events arrive.
            for index in 0..<100 { try await client.create("/n\(index)") }
            try await client.sync()
            #expect(client.connection.watches.watchedBytes == 0)
        }
    }

    @Test("Abandoned watches are removed when there are many")
    func abandonedWatches() async throws {
        try await withTestClient(followsReconfiguration: false) { client in
            let name = String(repeating: "x", count: 400)
            // Their paths have twice the size that the client may watch at once.
            for index in 0..<2_500 {
                var watch = client.dataUpdates(of: "/\(index)\(name)").makeAsyncIterator()
                #expect(try await watch.next() == .some(nil))
            }
            #expect(client.connection.watches.interestCount == 0)
            #expect(client.connection.watches.watchedBytes < WatchTable.maximumBytes)
            // A new watch on a path whose watch was removed receives its event.
            var watch = client.dataUpdates(of: "/0\(name)").makeAsyncIterator()
            #expect(try await watch.next() == .some(nil))
            try await client.create("/0\(name)", data: [1])
            #expect(try await watch.next()??.data == [1])
        }
    }

    @Test("A sequence that watches a path during the removal of its watch reads again afterwards")
    func watchDuringRemoval() throws {
        let table = WatchTable()
        let keys = (0..<200).map { WatchKey(kind: .existence, path: "/\($0)" + String(repeating: "x", count: 400)) }
        for key in keys {
            try table.reserve(key)
            table.settle(key, isArmed: true)
        }
        // The client's own watch on the ensemble's configuration has no signal, and stays.
        let configuration = WatchKey(kind: .data, path: EnsembleMembers.path)
        try table.reserve(configuration, isKept: true)
        table.settle(configuration, isArmed: true)
        var token: UInt64 = 0
        let removals = table.takeAbandoned {
            token += 1
            return token
        }
        #expect(removals.count == 200 && table.takeAbandoned { 0 }.isEmpty)
        let (first, second) = (removals[0], removals[1])
        let signal = WatchSignal()
        table.add(signal, for: [first.key, second.key])
        try table.reserve(first.key)
        table.settle(first.key, isArmed: true)
        table.removed(second.token, error: .connectionLoss)
        #expect(!signal.isRaised)
        table.removed(first.token, error: nil)
        #expect(signal.isRaised)
        for removal in removals { table.removed(removal.token, error: nil) }
        // One removal failed, so the C client still holds that watch.
        #expect(table.watchedBytes == 8 + second.key.path.utf8.count + configuration.path.utf8.count)
    }

    @Test("Closing the client ends its watch sequences")
    func closedClient() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: try await TestServer.address()))
        try await client.create("/a")
        let task = Task { for try await _ in client.dataUpdates(of: "/a") {} }
        while client.connection.watches.watchedBytes == 0 { await Task.yield() }
        await client.close()
        try await task.value
    }

    @Test("A watch sequence throws when the node cannot be read")
    func unreadableNode() async throws {
        try await withTestClient { client in
            try await client.create("/closed", acl: [.world(.admin)])
            var watch = client.dataUpdates(of: "/closed").makeAsyncIterator()
            await expect(.noAuth) { _ = try await watch.next() }
        }
    }

    @Test("The total size of watched paths is limited")
    func watchedPathLimit() async throws {
        try await withTestClient { client in
            let name = String(repeating: "x", count: 5_000)
            var iterators: [WatchSequence<Stat?>.Iterator] = []
            await expect(.tooManyWatches, outcome: .notApplied) {
                for index in 0..<200 {
                    var watch = client.statUpdates(of: "/\(index)\(name)").makeAsyncIterator()
                    _ = try await watch.next()
                    iterators.append(watch)
                }
            }
            #expect(iterators.count > 90 && iterators.count < 101)
        }
    }
}
