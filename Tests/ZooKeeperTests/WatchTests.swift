import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper

@Suite(.timeLimit(.minutes(2)))
struct WatchTests {
    @Test func dataIsYieldedNowAndAfterEachChange() async throws {
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

    @Test func theNewestStateReplacesUnreadOnes() async throws {
        try await withTestClient { client in
            try await client.create("/a", data: [0])
            var watch = client.dataUpdates(of: "/a").makeAsyncIterator()
            _ = try await watch.next()
            for value in 1...50 { try await client.set("/a", data: [UInt8(value)]) }
            #expect(try await watch.next()??.data == [50])
        }
    }

    @Test func childrenAndExistenceAreWatched() async throws {
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

    @Test func watchesGoOnAfterTheSessionHasExpired() async throws {
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

    @Test func watchesGoOnAfterTheServerWasRestarted() async throws {
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

    @Test("Two paths that are canonically equivalent are two nodes with two watches")
    func canonicallyEquivalentPathsAreTwo() async throws {
        let (composed, decomposed) = ("/caf\u{E9}", "/cafe\u{301}")
        #expect(composed == decomposed)
        try await withTestClient(followsReconfiguration: false) { client in
            try await client.create(composed, data: [1])
            try await client.create(decomposed, data: [2])
            var watches = [composed, decomposed].map { client.dataUpdatesUntilDeleted(of: $0).makeAsyncIterator() }
            for index in watches.indices { #expect(try await watches[index].next()??.data == [UInt8(index + 1)]) }
            let table = client.connection.watches
            #expect(table.interestCount == 4)
            // The event of one uses up its own watch only.
            let bytes = table.watchedBytes
            try await client.set(composed, data: [3])
            #expect(try await watches[0].next()??.data == [3])
            #expect(table.watchedBytes == bytes)
            try await client.delete(decomposed)
            #expect(try await watches[1].next() == .some(nil))
            #expect(try await client.children(of: "/").names.map { ExactString($0) } == ["caf\u{E9}"])
        }
    }

    @Test func cancellationEndsASequenceAndLeavesNothing() async throws {
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

    @Test func aDroppedIteratorLeavesNothing() async throws {
        // The client's own watch for other members would count too.
        try await withTestClient(followsReconfiguration: false) { client in
            for index in 0..<100 {
                var watch = client.dataUpdates(of: "/n\(index)").makeAsyncIterator()
                _ = try await watch.next()
            }
            #expect(client.connection.watches.interestCount == 0)
            // The library's own watches go with their events.
            for index in 0..<100 { try await client.create("/n\(index)") }
            try await client.sync()
            #expect(client.connection.watches.watchedBytes == 0)
        }
    }

    @Test("Watches for names that never come are removed when they have become many")
    func abandonedWatches() async throws {
        try await withTestClient(followsReconfiguration: false) { client in
            let name = String(repeating: "x", count: 400)
            // Twice as many as may be held at once.
            for index in 0..<2_500 {
                var watch = client.dataUpdates(of: "/\(index)\(name)").makeAsyncIterator()
                #expect(try await watch.next() == .some(nil))
            }
            #expect(client.connection.watches.interestCount == 0)
            #expect(client.connection.watches.watchedBytes < WatchTable.maximumBytes)
            // A watch on a path from which one was removed sees its event.
            var watch = client.dataUpdates(of: "/0\(name)").makeAsyncIterator()
            #expect(try await watch.next() == .some(nil))
            try await client.create("/0\(name)", data: [1])
            #expect(try await watch.next()??.data == [1])
        }
    }

    @Test("Who watches again while a watch is being removed reads again when it is gone")
    func watchingDuringARemoval() throws {
        let table = WatchTable()
        let keys = (0..<200).map { WatchKey(kind: .existence, path: "/\($0)" + String(repeating: "x", count: 400)) }
        for key in keys {
            try table.reserve(key)
            table.settle(key, isArmed: true)
        }
        // The client's own watch for other members has no signal, and stays.
        let members = WatchKey(kind: .data, path: EnsembleMembers.path)
        try table.reserve(members, isKept: true)
        table.settle(members, isArmed: true)
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
        table.removed(second.token, code: -4)
        #expect(!signal.isRaised)
        table.removed(first.token, code: 0)
        #expect(signal.isRaised)
        for removal in removals { table.removed(removal.token, code: 0) }
        // One removal failed, so that the library still holds its watch.
        #expect(table.watchedBytes == 8 + second.key.path.utf8.count + members.path.utf8.count)
    }

    @Test func closingTheClientEndsItsSequences() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: try await TestServer.address()))
        try await client.create("/a")
        let task = Task { for try await _ in client.dataUpdates(of: "/a") {} }
        while client.connection.watches.watchedBytes == 0 { await Task.yield() }
        await client.close()
        try await task.value
    }

    @Test func aNodeThatMayNotBeReadThrows() async throws {
        try await withTestClient { client in
            try await client.create("/closed", acl: [.world(.admin)])
            var watch = client.dataUpdates(of: "/closed").makeAsyncIterator()
            await expect(.noAuth) { _ = try await watch.next() }
        }
    }

    @Test func moreWatchedPathsThanOnePacketHoldsAreRefused() async throws {
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
