import Simulation
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperRecipes

/// The recipes on a real server, and their limits.
@Suite(.timeLimit(.minutes(2)))
struct RecipeTests {
    private struct Failed: Error {}

    @Test("Twenty tasks of two clients hold a lock one at a time, with growing tokens")
    func lock() async throws {
        try await withTestClient { first in
            let configuration = try ZooKeeperConfiguration(servers: first.address)
            try await ZooKeeperClient.withClient(configuration: configuration) { second in
                let inside = Shared(0)
                let tokens = Shared<[Int64]>([])
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<20 {
                        let lock = DistributedLock(number.isMultiple(of: 2) ? first : second, path: "/locks/a")
                        group.addTask {
                            try await lock.withLock { holder in
                                let count = inside.withLock { count in
                                    count += 1
                                    return count
                                }
                                #expect(count == 1)
                                #expect(holder.isHeld)
                                await Task.yield()
                                tokens.withLock { $0.append(holder.fencingToken) }
                                inside.withLock { $0 -= 1 }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                let taken = tokens.withLock { $0 }
                #expect(taken.count == 20 && taken == taken.sorted())
                #expect(try await first.children(of: "/locks/a").names.isEmpty)
            }
        }
    }

    @Test("Readers share a lock, and a writer does not")
    func readWriteLock() async throws {
        try await withTestClient { client in
            let lock = ReadWriteLock(client, path: "/locks/a")
            try await lock.withReadLock { _ in
                try await lock.withReadLock(timeout: .seconds(10)) { _ in }
                let error = await #expect(throws: RecipeError.self) {
                    try await lock.withWriteLock(timeout: .milliseconds(50)) { _ in }
                }
                #expect(error?.code == .timedOut)
            }
            try await lock.withWriteLock { _ in
                let error = await #expect(throws: RecipeError.self) {
                    try await lock.withReadLock(timeout: .milliseconds(50)) { _ in }
                }
                #expect(error?.code == .timedOut)
            }
            #expect(try await client.children(of: "/locks/a").names.isEmpty)
        }
    }

    @Test("The error of a closure is thrown, and the lock is free afterwards")
    func closureThrows() async throws {
        try await withTestClient { client in
            let lock = DistributedLock(client, path: "/locks/a")
            await #expect(throws: Failed.self) { try await lock.withLock { _ in throw Failed() } }
            try await lock.withLock(timeout: .seconds(10)) { _ in }
        }
    }

    @Test("When the node of a lock is deleted, its closure is cancelled, and the call says that the lock was lost")
    func lost() async throws {
        try await withTestClient { client in
            let error = await #expect(throws: RecipeError.self) {
                try await DistributedLock(client, path: "/locks/a").withLock { holder in
                    for name in try await client.children(of: "/locks/a").names {
                        try await client.delete("/locks/a/\(name)", version: nil)
                    }
                    while !Task.isCancelled { await Task.yield() }
                    #expect(!holder.isHeld)
                }
            }
            #expect(error?.code == .lost)
        }
    }

    @Test("The next candidate leads when the leader resigns, and the leader's name is known")
    func election() async throws {
        try await withTestClient { client in
            let names = Shared<[String]>([])
            #expect(try await LeaderElection(client, path: "/leaders/a", candidate: "x").leader() == nil)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for name in ["a", "b", "c"] {
                    let election = LeaderElection(client, path: "/leaders/a", candidate: name)
                    group.addTask {
                        try await election.run { leadership in
                            #expect(leadership.isHeld)
                            let leader = try await election.leader()
                            #expect(leader == name)
                            names.withLock { $0.append(name) }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(names.withLock { $0.sorted() } == ["a", "b", "c"])
        }
    }

    @Test("Increments of two clients all count")
    func counter() async throws {
        try await withTestClient { client in
            let counter = DistributedCounter(client, path: "/counters/a")
            #expect(try await counter.value() == 0)
            let values = try await withThrowingTaskGroup(of: Int64.self) { group in
                for _ in 0..<50 { group.addTask { try await counter.increment() } }
                return try await group.reduce(into: [Int64]()) { $0.append($1) }
            }
            #expect(values.sorted() == Array(1...50))
            #expect(try await counter.increment(by: -51) == -1)
            try await client.set("/counters/a", data: Array("\(Int64.max)".utf8), version: nil)
            let overflow = await #expect(throws: RecipeError.self) { try await counter.increment() }
            #expect(overflow?.code == .invalidArgument)
            try await client.set("/counters/a", data: [0xFF], version: nil)
            let foreign = await #expect(throws: RecipeError.self) { try await counter.value() }
            #expect(foreign?.code == .invalidArgument)
        }
    }

    @Test("Other nodes below a lock have no place in its line")
    func oddNodes() async throws {
        for name in ["x", "write-x", "write--1", "other-a-0000000001", "write-a-99999999999", "write-a-00000000x1", ""]
        {
            #expect(LockNode(name) == nil, "\(name)")
        }
        #expect(LockNode("read-a--2147483648")?.sequence == .min)
        let names = ["read-a-0000000001", "write-b-0000000002", "read-c-0000000003", "odd", "read-d-0000000004"]
        #expect(LockNode("read-d-0000000004")?.blocker(in: names) == "write-b-0000000002")
        #expect(LockNode("write-b-0000000002")?.blocker(in: names) == "read-a-0000000001")
        #expect(LockNode("read-a-0000000001")?.blocker(in: names) == nil)
        try await withTestClient { client in
            for name in ["x", "write-x"] { try await client.ensurePath("/locks/a/\(name)") }
            try await DistributedLock(client, path: "/locks/a").withLock(timeout: .seconds(10)) { _ in }
        }
    }

    @Test("Invalid paths, and the root, are refused")
    func paths() async throws {
        let store = InMemoryZooKeeper().connect()
        await #expect(throws: ZooKeeperError.self) { try await store.ensurePath("a") }
        await #expect(throws: ZooKeeperError.self) { try await store.deleteRecursively("/a//b") }
        await #expect(throws: RecipeError.self) { try await store.deleteRecursively("/") }
        try await store.ensurePath("/")
        try await store.deleteRecursively("/missing")
    }

    @Test("While no server responds, waiting for a lock ends at its limit or with its task, and releasing it ends too")
    func outage() throws {
        let simulation = Simulation(.fixed)
        let times = try simulation.run {
            let (clock, session) = (simulation.clock, simulation.zookeeper.connect("a"))
            let lock = DistributedLock(session, path: "/locks/a")
            try await lock.withLock { _ in }
            session.disconnect(for: .seconds(600))
            var start = clock.now.offset
            let error = await #expect(throws: RecipeError.self) {
                try await lock.withLock(timeout: .seconds(2)) { _ in }
            }
            #expect(error?.code == .timedOut)
            let limit = clock.now.offset - start
            start = clock.now.offset
            let waiting = Task { try await lock.withLock { _ in } }
            try await clock.sleep(for: .seconds(1))
            waiting.cancel()
            _ = await waiting.result
            let cancelled = clock.now.offset - start
            // The session expires during an outage, so another process may hold the lock now.
            try await clock.sleep(for: .seconds(700))
            start = clock.now.offset
            let lost = await #expect(throws: RecipeError.self) {
                try await lock.withLock { _ in
                    session.disconnect(for: .seconds(600))
                    try? await clock.sleep(for: .seconds(5))
                }
            }
            #expect(lost?.code == .lost)
            let released = clock.now.offset - start
            session.crash()
            return [limit, cancelled, released]
        }
        #expect(times[0] <= .seconds(12) && times[1] <= .seconds(7) && times[2] <= .seconds(12), "\(times)")
    }

    @Test("The recipes create a chroot that is missing")
    func missingChroot() async throws {
        try await withTestClient { client in
            let configuration = try ZooKeeperConfiguration(servers: client.address + "/missing/chroot")
            try await ZooKeeperClient.withClient(configuration: configuration) { inside in
                let store: any ZooKeeperStore = inside
                try await withDeadline("a path below a missing chroot") { try await store.ensurePath("/a/b") }
                #expect(try await DistributedCounter(inside, path: "/counters/a").increment() == 1)
            }
            #expect(try await client.exists("/missing/chroot/a/b") != nil)
        }
    }
}
