import Logging
import MetricsTestKit
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import Testing
import TestSupport
import ZooKeeperServer

@testable import ZooKeeper

/// Sessions and calls while servers stop, hang and return.
@Suite(.timeLimit(.minutes(2)))
struct SessionTests {
    @Test("An expired session is replaced by a new one and reported")
    func expiredSession() async throws {
        try await withTestClient { client in
            try await client.create("/e", mode: .ephemeral)
            let before = client.sessionState
            var states = client.sessionStates.makeAsyncIterator()
            #expect(await states.next()?.phase == .connected)
            try await expireSession(of: client)
            while let state = await states.next(), state.sessionID == before.sessionID || state.phase != .connected {}
            let after = client.sessionState
            #expect(after.expirations == 1 && after.sessionID != before.sessionID && after.sessionID != 0)
            #expect(try await client.exists("/e") == nil)
            try await client.create("/e", mode: .ephemeral)
        }
    }

    @Test("The expiry of a client's session does not affect another client")
    func twoClients() async throws {
        try await withTestClient { first in
            let configuration = first.configuration
            try await ZooKeeperClient.withClient(
                configuration: .init(servers: configuration.servers + configuration.chroot)
            ) { second in
                try await first.create("/one", mode: .ephemeral)
                try await second.create("/two", mode: .ephemeral)
                let id = second.sessionState.sessionID
                try await expireSession(of: first)
                for await state in first.sessionStates where state.expirations == 1 && state.phase == .connected {
                    break
                }
                #expect(second.sessionState.sessionID == id && second.sessionState.expirations == 0)
                #expect(try await second.exists("/two") != nil)
                #expect(try await second.exists("/one") == nil)
            }
        }
    }

    @Test("A call waits for a server that starts later")
    func laterServer() async throws {
        let ensemble = try LocalEnsemble(.forTests())
        try await ZooKeeperClient.withClient(configuration: .init(servers: ensemble.connectString)) { client in
            async let early = client.create("/early")
            try await ensemble.start()
            #expect(try await early.path == "/early")
        }
        await ensemble.stop()
    }

    @Test("A call ends at its deadline when no server responds, and the error names the address")
    func unreachableServer() async throws {
        let configuration = try ZooKeeperConfiguration(servers: "127.0.0.1:1", requestTimeout: .milliseconds(300))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let start = ContinuousClock.now
            await expect(.deadlineExceeded, outcome: .notApplied) { try await client.create("/a") }
            await expect(.deadlineExceeded) { _ = try await client.get("/a", timeout: .milliseconds(50)) }
            #expect(ContinuousClock.now - start < .seconds(5))
            let error = await #expect(throws: ZooKeeperError.self) { try await client.sync() }
            #expect(error?.message.contains("127.0.0.1:1") == true)
        }
    }

    @Test("A call ends at its deadline when the host name cannot be resolved")
    func unresolvableName() async throws {
        let configuration = try ZooKeeperConfiguration(
            servers: "no-such-host.invalid:2181", requestTimeout: .milliseconds(300))
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            await expect(.deadlineExceeded, outcome: .notApplied) { try await client.create("/a") }
        }
    }

    @Test("A client connects to an IPv6 address")
    func ipv6Address() async throws {
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.settings["clientPortAddress"] = "::"
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let servers = "[::1]:\(ensemble.ports[0])"
            try await ZooKeeperClient.withClient(configuration: .init(servers: servers, requestTimeout: .seconds(5))) {
                _ = try await $0.create("/six")
            }
        }
    }

    @Test("The cancellation of a call ends no other call")
    func cancelledCall() async throws {
        let configuration = try ZooKeeperConfiguration(servers: "127.0.0.1:1")
        try await ZooKeeperClient.withClient(configuration: configuration) { client in
            let task = Task { try await client.create("/a") }
            let other = Task { try await client.get("/a", timeout: .seconds(2)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            await expect(.deadlineExceeded) { _ = try await other.value }
        }
    }

    @Test("A session survives the restart of its server")
    func serverRestart() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(10))
            try await ZooKeeperClient.withClient(configuration: configuration) { client in
                try await client.create("/e", mode: .ephemeral)
                let id = client.sessionState.sessionID
                await ensemble.kill(0)
                // The client repeats a read whose connection was lost.
                async let read = client.exists("/e")
                for await state in client.sessionStates where state.phase != .connected { break }
                try await ensemble.start(0)
                #expect(try await read?.ephemeralOwner == id)
                #expect(client.sessionState.sessionID == id && client.sessionState.reconnections >= 1)
            }
        }
    }

    @Test("After an ensemble has lost its data, the client opens a new session and logs the loss")
    func lostData() async throws {
        let log = RecordedLog()
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(2))
            try await ZooKeeperClient.withClient(configuration: configuration, logger: log.logger()) { client in
                // The zxid must stay above that of the emptied server, which grows with each new session.
                for _ in 0..<100 { try await client.create("/n-", mode: .persistentSequential) }
                let before = client.sessionState
                var watch = client.childrenUpdates(of: "/").makeAsyncIterator()
                #expect(try await watch.next()??.names.count == 101)
                await ensemble.kill(0)
                try await ensemble.eraseData(0)
                try await ensemble.start(0)
                let states = client.sessionStates
                let after = try await withDeadline("a new session", within: .seconds(10)) {
                    await states.first { $0.phase == .connected && $0.sessionID != before.sessionID }
                }
                #expect(after?.expirations == 1)
                #expect(try await watch.next()??.names == ["zookeeper"])
                try await client.create("/n")
                #expect(log.entries.count { $0.message.contains("lost acknowledged data") } == 1)
            }
        }
    }

    @Test("A session survives an outage of all servers that is longer than its timeout")
    func longOutage() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(2))
            try await ZooKeeperClient.withClient(configuration: configuration) { client in
                try await client.create("/e", mode: .ephemeral)
                let id = client.sessionState.sessionID
                await ensemble.kill(0)
                // The outage lasts three times as long as the session timeout.
                try await Task.sleep(for: .seconds(6))
                try await ensemble.start(0)
                #expect(try await client.exists("/e")?.ephemeralOwner == id)
                #expect(client.sessionState.expirations == 0)
            }
        }
    }

    @Test("A session counts as refused only after its timeout, and after a try at each server")
    func refusalPatience() {
        #expect(Connection.refusalPatience(timeout: .seconds(30), servers: 1) == .seconds(32))
        #expect(Connection.refusalPatience(timeout: .seconds(3), servers: 2) == .seconds(4))
        #expect(Connection.refusalPatience(timeout: .seconds(3), servers: 5) == .seconds(9))
    }

    @Test("While a server hangs, a write ends with an unknown outcome and the session becomes suspended")
    func hungServer() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, sessionTimeout: .seconds(3), requestTimeout: .seconds(1))
            let client = try ZooKeeperClient(configuration: configuration)
            try await client.create("/before")
            await ensemble.pause(0)
            let paused = ContinuousClock.now
            await expect(.deadlineExceeded, outcome: .unknown) { try await client.create("/hung") }
            for await state in client.sessionStates where state.phase == .suspended { break }
            let idleTime = ContinuousClock.now - paused
            #expect(idleTime > .milliseconds(1_200) && idleTime < .milliseconds(2_900), "suspended after \(idleTime)")
            let closing = ContinuousClock.now
            await client.close()
            #expect(ContinuousClock.now - closing < .seconds(8))
            await ensemble.resume(0)
        }
    }

    @Test("close() returns within six seconds while the server hangs")
    func boundedClose() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let configuration = try ZooKeeperConfiguration(
                servers: ensemble.connectString, followsReconfiguration: false, sessionTimeout: .seconds(10))
            let client = try ZooKeeperClient(configuration: configuration)
            try await client.create("/a")
            await ensemble.pause(0)
            let hanging = Task { try await client.create("/b") }
            while client.connection.requests.read({ $0.inFlight }) == 0 { await Task.yield() }
            let start = ContinuousClock.now
            await client.close()
            #expect(ContinuousClock.now - start < .seconds(6))
            await expect(.closing, outcome: .unknown) { _ = try await hanging.value }
            await ensemble.resume(0)
        }
    }

    @Test("Closing under load ends every call")
    func closingUnderLoad() async throws {
        for _ in 0..<20 {
            try await withTestClient { client in
                try await client.sync()
                let tasks = (0..<200).map { index in
                    Task { try await client.create("/n-", data: [UInt8(index & 255)], mode: .persistentSequential) }
                }
                let closing = Task { await client.close() }
                let ends = try await withDeadline("the calls of a client that is closed to end") {
                    var ends = 0
                    for task in tasks {
                        _ = await task.result
                        ends += 1
                    }
                    return ends
                }
                await closing.value
                #expect(ends == 200)
                await expect(.closed) { _ = try await client.get("/") }
            }
        }
    }

    @Test("A client that was never used can be closed twice")
    func closingTwice() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
        await client.close()
        await client.close()
        await expect(.closed, outcome: .notApplied) { try await client.create("/a") }
        var states = client.sessionStates.makeAsyncIterator()
        #expect(await states.next()?.phase == .closed)
        #expect(await states.next() == nil)
    }

    @Test("A client that is released without close() closes its session")
    func releasedClient() async throws {
        try await withTestClient { watcher in
            let configuration = watcher.configuration
            func createEphemeral() async throws {
                let client = try ZooKeeperClient(configuration: configuration)
                try await client.create("/e", mode: .ephemeral)
            }
            try await createEphemeral()
            // The session cannot have expired by then.
            try await withDeadline("the ephemeral node of the released client to be removed", within: .seconds(4)) {
                for try await stat in watcher.statUpdates(of: "/e") where stat == nil { break }
            }
        }
    }

    @Test("run() can be called once, and closes the client at a graceful shutdown")
    func gracefulShutdown() async throws {
        let address = try await TestServer.address()
        let client = try ZooKeeperClient(configuration: .init(servers: address))
        try await testGracefulShutdown { trigger in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.run() }
                try await client.create("/a")
                await expect(.alreadyRunning) { try await client.run() }
                trigger.triggerGracefulShutdown()
                try await group.waitForAll()
            }
        }
        #expect(client.sessionState.phase == .closed)
    }

    @Test("run() closes the client when its task is cancelled")
    func cancelledRun() async throws {
        let client = try ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
        let task = Task { try await client.run() }
        task.cancel()
        try await task.value
        #expect(client.sessionState.phase == .closed)
    }

    @Test("The metrics count requests, failures, latencies and expired sessions")
    func clientMetrics() async throws {
        let metrics = TestMetrics()
        let address = try await TestServer.address()
        let client = try ZooKeeperClient(configuration: .init(servers: address), metricsFactory: metrics)
        try await client.create("/a")
        _ = try? await client.create("/a")
        let requests = try metrics.expectCounter("zookeeper_client_requests_total", [("operation", "create")])
        let failures = try metrics.expectCounter("zookeeper_client_failures_total", [("operation", "create")])
        #expect(requests.totalValue == 2 && failures.totalValue == 1)
        #expect(
            try metrics.expectTimer("zookeeper_client_request_duration_seconds", [("operation", "create")]).values.count
                == 2)
        try await expireSession(of: client)
        for await state in client.sessionStates where state.expirations == 1 && state.phase == .connected { break }
        #expect(try metrics.expectCounter("zookeeper_client_expirations_total").totalValue == 1)
        await client.close()
    }

    @Test("The log lines of the C client reach the logger")
    func cclientLog() async throws {
        let log = RecordedLog()
        // The C client names no handle in its lines, so the client of another test may receive them.
        try await withDeadline("a log line of the C client", within: .seconds(30)) {
            while !log.entries.contains(where: {
                $0.message == "C client message" && $0.metadata["text"]?.contains("refused") == true
            }) {
                log.clear()
                let client = try ZooKeeperClient(
                    configuration: .init(
                        servers: "127.0.0.1:1", transport: .cclient, requestTimeout: .milliseconds(200)),
                    logger: log.logger())
                await expect(.deadlineExceeded) { try await client.sync() }
                await client.close()
            }
        }
        #expect(log.entries.count < 40)
    }

    @Test("Closing a probe leaves the memory of other handles' multis alone")
    func closedProbe() {
        let (handle, probe) = (HandleID(client: 77, generation: 1), HandleID(client: 77, generation: 2))
        MultiRegistry.shared.add(MultiBuffers([.delete("/a")]), token: 77 << 40 | 5, of: handle)
        MultiRegistry.shared.removeAll(of: probe)
        #expect(MultiRegistry.shared.count(of: handle) == 1)
        MultiRegistry.shared.removeAll(of: handle)
        #expect(MultiRegistry.shared.count(of: handle) == 0)
    }
}
