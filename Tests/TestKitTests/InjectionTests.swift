import Simulation
import Testing
import ZooKeeper
import ZooKeeperTestKit

/// What a caller sees of each fault, and whether its request was applied.
@Suite(.timeLimit(.minutes(1)))
struct InjectionTests {
    /// Injects the fault into a create.
    ///
    /// - Returns: The error, whether the node exists, and the state of the session.
    private func create(with fault: Fault) throws -> (error: ZooKeeperError?, isApplied: Bool, state: SessionState) {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        let session = zookeeper.connect(faults: { $0.number == 2 ? fault : nil })
        let first = session.sessionState.sessionID
        let error = try simulation.run { () -> ZooKeeperError? in
            _ = try await session.exists("/")
            do {
                _ = try await session.create("/a", data: [1], mode: .persistent)
                return nil
            } catch { return error as? ZooKeeperError }
        }
        let state = session.sessionState
        #expect((state.sessionID != first) == (state.expirations > 0))
        session.close()
        return (error, zookeeper.nodes["/a"] != nil, state)
    }

    @Test(
        "A write without a response has an unknown outcome",
        arguments: [
            (Fault.requestLost, ZooKeeperError.Code.connectionLoss, false),
            (.replyLost, .connectionLoss, true), (.appliedLate, .connectionLoss, true),
            (.replyTooLate, .deadlineExceeded, true), (.requestTooLate, .deadlineExceeded, true),
            (.expiredBefore, .sessionExpired, false), (.expiredAfter, .sessionExpired, true),
        ])
    func lostReply(_ fault: Fault, _ code: ZooKeeperError.Code, _ isApplied: Bool) throws {
        let seen = try create(with: fault)
        #expect(seen.error?.code == code && seen.error?.outcome == .unknown)
        #expect(seen.isApplied == isApplied)
        #expect(seen.state.phase == .connected)
        #expect(seen.state.expirations == (code == .sessionExpired ? 1 : 0))
    }

    @Test("The write of a session that has moved is refused and not applied")
    func movedSession() throws {
        let seen = try create(with: .moved)
        #expect(seen.error?.code == .sessionMoved && seen.error?.outcome == .notApplied)
        #expect(!seen.isApplied)
    }

    @Test(
        "A read without a response is repeated",
        arguments: [Fault.requestLost, .replyLost, .appliedLate, .expiredBefore, .expiredAfter])
    func repeatedRead(_ fault: Fault) throws {
        let simulation = Simulation(.fixed)
        let session = simulation.zookeeper.connect(faults: { $0.number == 1 ? fault : nil })
        let stat = try simulation.run { try await session.exists("/") }
        #expect(stat != nil)
    }

    @Test("A stale read never returns a state older than the session has already seen")
    func staleRead() async throws {
        let zookeeper = InMemoryZooKeeper()
        let writer = zookeeper.connect("writer")
        let reader = zookeeper.connect("reader", faults: { _ in .staleRead })
        _ = try await writer.create("/a", data: [1], mode: .persistent)
        #expect(try await reader.exists("/a") == nil)
        try await reader.sync("/")
        #expect(try await reader.get("/a").data == [1])
        _ = try await writer.set("/a", data: [2], version: nil)
        #expect(try await reader.get("/a").data == [1])
        // A session always sees its own writes.
        let stat = try await reader.set("/a", data: [3], version: nil)
        #expect(stat.version == 2)
        #expect(try await reader.get("/a").data == [3])
    }

    @Test("A watch that a stale read sets reports the change that the read missed")
    func staleWatch() async throws {
        let zookeeper = InMemoryZooKeeper()
        let writer = zookeeper.connect("writer")
        let reader = zookeeper.connect("reader", faults: { $0.number <= 2 ? .staleRead : nil })
        _ = try await writer.create("/a", data: [1], mode: .persistent)
        // The first element is stale. The event that follows at once leads to the current state.
        var seen: [[UInt8]?] = []
        for try await node in reader.dataUpdates(of: "/a") {
            seen.append(node?.data)
            if seen.count == 2 { break }
        }
        #expect(seen == [nil, [1]])
    }

    @Test("A session is suspended and expires in virtual time")
    func virtualTime() async throws {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let session = zookeeper.connect(sessionTimeout: .seconds(3_600))
        _ = try await session.create("/e", data: nil, mode: .ephemeral)
        session.disconnect(for: .seconds(4_000))
        await clock.advance(by: .seconds(2_399))
        #expect(session.sessionState.phase == .disconnected)
        await clock.advance(by: .seconds(2))
        #expect(session.sessionState.phase == .suspended)
        #expect(zookeeper.nodes["/e"] != nil)
        await clock.advance(by: .seconds(1_200))
        #expect(zookeeper.nodes["/e"] == nil)
        await clock.advance(by: .seconds(400))
        #expect(session.sessionState.phase == .connected && session.sessionState.expirations == 1)
    }

    @Test("A paused process learns that its session has expired when it continues")
    func pausedProcess() async throws {
        let clock = VirtualClock()
        let zookeeper = InMemoryZooKeeper(clock: clock)
        let session = zookeeper.connect(sessionTimeout: .seconds(10))
        _ = try await session.create("/e", data: nil, mode: .ephemeral)
        session.pause(for: .seconds(20))
        await clock.advance(by: .seconds(15))
        #expect(zookeeper.nodes["/e"] == nil && session.sessionState.phase == .connected)
        await clock.advance(by: .seconds(6))
        #expect(session.sessionState.expirations == 1)
    }

    @Test("A rollback restores the tree, but changes neither sessions nor watches, and the zxid still grows")
    func rollback() async throws {
        let zookeeper = InMemoryZooKeeper()
        let (alive, ended) = (zookeeper.connect("alive"), zookeeper.connect("ended"))
        _ = try await alive.create("/a", data: [1], mode: .persistent)
        _ = try await alive.create("/kept", data: nil, mode: .ephemeral)
        _ = try await ended.create("/gone", data: nil, mode: .ephemeral)
        let before = zookeeper.nodes
        let checkpoint = zookeeper.checkpoint()

        _ = try await alive.set("/a", data: [2], version: 0)
        _ = try await alive.create("/a/s-", data: nil, mode: .persistentSequential)
        _ = try await alive.create("/late", data: nil, mode: .ephemeral)
        try await alive.delete("/kept", version: nil)
        ended.close()
        let signal = WatchSignal()
        alive.watches.add(signal, for: [WatchKey(kind: .data, path: "/a")])
        let last = try await alive.node("/a", watch: true)
        zookeeper.restore(checkpoint)

        #expect(Set(zookeeper.nodes.keys) == ["/", "/a", "/kept"])
        #expect(try await alive.get("/a") == before["/a"])
        #expect(try await alive.exists("/kept")?.ephemeralOwner == alive.sessionState.sessionID)
        #expect(alive.sessionState.phase == .connected && alive.sessionState.expirations == 0)
        #expect(!signal.isRaised)
        // The old version matches again, and the zxid is later than any that was seen before.
        let stat = try await alive.set("/a", data: [3], version: 0)
        #expect(stat.version == 1 && stat.mzxid > last.stat.mzxid)
        #expect(signal.isRaised)
        #expect(try await alive.create("/a/s-", data: nil, mode: .persistentSequential).path == "/a/s-0000000000")
    }

    @Test("Access control lists are enforced")
    func accessControl() async throws {
        let zookeeper = InMemoryZooKeeper()
        let owner = zookeeper.connect("owner", identities: [AuthInfo(scheme: "digest", id: "owner:x")])
        let other = zookeeper.connect("other")
        _ = try await owner.create("/a", data: [1], mode: .persistent)
        try await owner.setACL(of: "/a", to: [.creator(.all), .world(.read)])
        #expect(try await other.get("/a").data == [1])
        for refused in [
            { _ = try await other.set("/a", data: nil, version: nil) },
            { _ = try await other.create("/a/b", data: nil, mode: .persistent) },
            { try await other.setACL(of: "/a", to: .open) },
        ] as [@Sendable () async throws -> Void] {
            let error = await #expect(throws: ZooKeeperError.self) { try await refused() }
            #expect(error?.code == .noAuth)
        }
        _ = try await owner.create("/a/b", data: nil, mode: .persistent)
    }

    @Test("A request that is too large is not sent")
    func oversizedRequest() async {
        let session = InMemoryZooKeeper().connect()
        let error = await #expect(throws: ZooKeeperError.self) {
            _ = try await session.create("/a", data: .init(repeating: 0, count: 1_100_000), mode: .persistent)
        }
        #expect(error?.code == .requestTooLarge && session.callCount == 0)
    }
}
