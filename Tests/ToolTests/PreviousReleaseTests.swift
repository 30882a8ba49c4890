import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

@testable import ZooKeeperQueue

/// The tool of the previous release.
enum PreviousRelease {
    /// The path at which `scripts/previous-release` installs it, beside the build products.
    static let path = Tool.products.removingLastComponent().removingLastComponent().appending("previous")
        .appending("zkq")

    static var isBuilt: Bool { FileManager.default.isExecutableFile(atPath: path.string) }
}

extension QueueStatistics {
    fileprivate var isEmpty: Bool { ready == 0 && leased == 0 }
}

/// Tests the tool of the previous release and this one on one queue.
@Suite(.timeLimit(.minutes(2)), .enabled(if: PreviousRelease.isBuilt, "make test builds the previous release"))
struct PreviousReleaseTests {
    private func lines(_ release: String, _ round: Int) -> [String] { (1...200).map { "\(release)-\(round)-\($0)" } }

    /// Sends with both releases in five rounds, and waits for a rollover in each, because both consumers must be running
    /// during it.
    private func sendDuringRollovers(_ old: Tool, _ new: Tool, _ client: ZooKeeperClient) async throws {
        for round in 1...5 {
            async let oldPut = old("put", "--lines", input: lines("old", round).joined(separator: "\n"))
            async let newPut = new("put", "--lines", input: lines("new", round).joined(separator: "\n"))
            for result in [try await oldPut, try await newPut] {
                #expect(result.isSuccess && result.lines.count == 200, "\(result.error)")
            }
            for try await node in client.dataUpdates(of: "/queue/epoch") {
                if let node, try SequenceEpoch(node).number >= round { break }
            }
        }
    }

    /// Takes messages until `sending` has ended and the queue is empty. A limit in seconds, such as `--wait` has, would
    /// end it too early on a busy machine.
    ///
    /// - Returns: the payloads.
    private func take(_ tool: Tool, until sending: Task<Void, any Error>, isEmpty queue: MessageQueue) async throws
        -> [String]
    {
        var lines: [String] = []
        _ = try await tool.started("take") { pid, output in
            async let stopped: Void = {
                defer { kill(pid, SIGTERM) }
                try await sending.value
                // A count of several folders, of which no single watch tells.
                while try await !queue.statistics().isEmpty { try await Task.sleep(for: .milliseconds(50)) }
            }()
            for try await line in output { lines.append(line) }
            try await stopped
        }
        return lines
    }

    @Test("Both releases share a queue during sequence rollovers, and take each message once")
    func sharedQueue() async throws {
        let new = Tool(address: try await TestServer.address())
        let old = Tool(address: new.address, path: PreviousRelease.path)
        try await ZooKeeperClient.withClient(configuration: .init(servers: new.address)) { client in
            let queue = try MessageQueue(client).creating(with: .init(sequenceRolloverThreshold: 150))
            try await queue.prepare()
            let recovering = Task {
                try await QueueRecovery(queue, configuration: .init(interval: .milliseconds(20))).run()
            }
            var taken: [String] = []
            _ = try await old.started("recover", "--every", "0.1") { _, _ in
                let sending = Task { try await sendDuringRollovers(old, new, client) }
                async let oldTake = take(old, until: sending, isEmpty: queue)
                async let newTake = take(new, until: sending, isEmpty: queue)
                for lines in [try await oldTake, try await newTake] {
                    #expect(lines.count > 100)
                    taken += lines
                }
            }
            recovering.cancel()
            try await recovering.value
            #expect(taken.sorted() == (1...5).flatMap { lines("old", $0) + lines("new", $0) }.sorted())
            #expect(try await queue.statistics().ready == 0)
        }
    }

    @Test("Both releases refuse a queue of a later format")
    func laterFormat() async throws {
        let new = Tool(address: try await TestServer.address())
        let old = Tool(address: new.address, path: PreviousRelease.path)
        #expect(try await new("put", "a").isSuccess)
        try await ZooKeeperClient.withClient(configuration: .init(servers: new.address)) {
            _ = try await $0.set("/queue/epoch", data: Array("0 open \(SequenceEpoch.format + 1)".utf8))
        }
        for tool in [old, new] {
            for result in [
                try await tool("put", "b"), try await tool("take", "--wait", "0"), try await tool("recover", "--once"),
                try await tool("purge", "--yes"),
            ] {
                #expect(!result.isSuccess && result.output.isEmpty)
                #expect(result.error.contains("newer"), "\(result.error)")
            }
        }
    }
}
