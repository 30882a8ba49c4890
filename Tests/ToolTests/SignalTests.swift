import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperServer

/// Tests how the tool ends at a signal.
@Suite(.timeLimit(.minutes(2)))
struct SignalTests {
    /// Waits until a consumer has joined the wait queue.
    private func waitUntilIdle(_ address: String) async throws {
        try await ZooKeeperClient.withClient(configuration: .init(servers: address)) { client in
            for try await children in client.childrenUpdates(of: "/queue/idle")
            where children?.names.isEmpty == false { break }
        }
    }

    /// Waits for the end of the tool, which closes its output.
    private func expectEnd(
        _ lines: inout SubprocessOutputSequence.StringSequence<UTF8>.AsyncIterator,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let line = try await lines.next()
        #expect(line == nil, sourceLocation: sourceLocation)
    }

    private func makeEmptyQueue(_ zkq: Tool) async throws {
        #expect(try await zkq("put", "a").isSuccess)
        #expect(try await zkq("purge", "--yes").isSuccess)
    }

    @Test("zkq take ends at each signal, and leaves no consumer behind", arguments: [SIGINT, SIGTERM, SIGHUP])
    func signals(_ number: Int32) async throws {
        let zkq = Tool(address: try await TestServer.address())
        try await makeEmptyQueue(zkq)
        let result = try await zkq.started("take") { pid, output in
            var lines = output.makeAsyncIterator()
            try await waitUntilIdle(zkq.address)
            kill(pid, number)
            try await expectEnd(&lines)
        }
        #expect(result.status == .exited(128 + number), "\(result.error)")
        #expect(try await zkq("stats").output.contains("consumers  0"))
    }

    @Test("A gateway ends at SIGHUP with success")
    func gateway() async throws {
        let zkq = Tool(address: try await TestServer.address())
        let result = try await zkq.started("gateway", "--listen", "127.0.0.1:0") { pid, output in
            var lines = output.makeAsyncIterator()
            #expect(try await lines.next()?.hasPrefix("ready ") == true)
            kill(pid, SIGHUP)
            try await expectEnd(&lines)
        }
        #expect(result.isSuccess, "\(result.error)")
    }

    @Test("SIGHUP stays ignored when the caller ignores it, as nohup does")
    func nohup() async throws {
        let zkq = Tool(address: try await TestServer.address())
        try await makeEmptyQueue(zkq)
        let shell = Tool(address: zkq.address, path: "/bin/sh")
        let script = "trap '' HUP; exec \"$0\" take --count 1"
        let result = try await shell.started("-c", script, Tool.path.string) { pid, output in
            var lines = output.makeAsyncIterator()
            try await waitUntilIdle(zkq.address)
            kill(pid, SIGHUP)
            #expect(try await zkq("put", "b").isSuccess)
            #expect(try await lines.next() == "b")
            try await expectEnd(&lines)
        }
        #expect(result.isSuccess, "\(result.error)")
    }

    @Test("zkq take ends within seconds of a signal while its server hangs", arguments: [false, true])
    func hangingServer(holdsALease: Bool) async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let zkq = Tool(address: ensemble.connectString)
            try await makeEmptyQueue(zkq)
            if holdsALease { #expect(try await zkq("put", "a").isSuccess) }
            let result = try await zkq.started("take", "--hold", "600") { pid, output in
                var lines = output.makeAsyncIterator()
                if holdsALease {
                    #expect(try await lines.next() == "a")
                } else {
                    try await waitUntilIdle(zkq.address)
                }
                await ensemble.pause(0)
                let start = ContinuousClock.now
                kill(pid, SIGTERM)
                try await expectEnd(&lines)
                #expect(start.duration(to: .now) < .seconds(10))
            }
            #expect(result.status == .exited(128 + SIGTERM), "\(result.error)")
        }
    }

    @Test("A second signal ends zkq take at once")
    func secondSignal() async throws {
        try await LocalEnsemble.withEnsemble(.forTests()) { ensemble in
            let zkq = Tool(address: ensemble.connectString)
            #expect(try await zkq("put", "a").isSuccess)
            let result = try await zkq.started("take", "--hold", "600") { pid, output in
                var lines = output.makeAsyncIterator()
                #expect(try await lines.next() == "a")
                await ensemble.pause(0)
                let start = ContinuousClock.now
                // Two signals of the same kind could arrive as one.
                kill(pid, SIGTERM)
                kill(pid, SIGINT)
                try await expectEnd(&lines)
                #expect(start.duration(to: .now) < .seconds(3))
            }
            #expect([.exited(128 + SIGTERM), .exited(128 + SIGINT)].contains(result.status), "\(result.error)")
        }
    }

    @Test("zkq take ends within seconds of a signal while its output pipe is full")
    func fullOutputPipe() async throws {
        let zkq = Tool(address: try await TestServer.address())
        // The message is longer than a pipe can buffer.
        #expect(try await zkq("put", "--lines", input: String(repeating: "a", count: 400_000)).isSuccess)
        let pipe = try FileDescriptor.pipe()
        defer { try? pipe.readEnd.close() }
        var start = ContinuousClock.now
        let result = try await run(
            .path(Tool.path), arguments: ["take"], environment: zkq.environment, input: .none,
            output: .fileDescriptor(pipe.writeEnd, closeAfterSpawningProcess: true), error: .string(limit: 1 << 16)
        ) { execution in
            let first = try await Task.detached {
                try FileHandle(fileDescriptor: pipe.readEnd.rawValue).read(upToCount: 1)
            }.value
            #expect(first == Data("a".utf8))
            start = .now
            kill(execution.processIdentifier.value, SIGTERM)
        }
        #expect(start.duration(to: .now) < .seconds(10))
        #expect(result.terminationStatus == .exited(128 + SIGTERM), "\(result.standardError)")
    }
}
