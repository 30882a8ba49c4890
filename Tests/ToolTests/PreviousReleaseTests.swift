import Foundation
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

/// Tests the tool of the previous release and this one on one queue.
@Suite(.timeLimit(.minutes(2)), .enabled(if: PreviousRelease.isBuilt, "make test builds the previous release"))
struct PreviousReleaseTests {
    private func lines(_ release: String, _ round: Int) -> [String] { (1...200).map { "\(release)-\(round)-\($0)" } }

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
                async let oldTake = old("take", "--wait", "4")
                async let newTake = new("take", "--wait", "4")
                for round in 1...5 {
                    async let oldPut = old("put", "--lines", input: lines("old", round).joined(separator: "\n"))
                    async let newPut = new("put", "--lines", input: lines("new", round).joined(separator: "\n"))
                    for result in [try await oldPut, try await newPut] {
                        #expect(result.isSuccess && result.lines.count == 200, "\(result.error)")
                    }
                    // Wait for a rollover in each round, because both consumers must be running during it.
                    for try await node in client.dataUpdates(of: "/queue/epoch") {
                        if let node, try SequenceEpoch(node).number >= round { break }
                    }
                }
                for result in [try await oldTake, try await newTake] {
                    #expect(result.isSuccess && result.lines.count > 100, "\(result.lines.count) \(result.error)")
                    taken += result.lines
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
