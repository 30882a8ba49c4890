import Foundation
import QueueHistory
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperTestKit

/// The same steps must give the same results, errors, metadata and events in memory and on a real server.
@Suite(.timeLimit(.minutes(5)))
struct DifferentialTests {
    private struct Difference: CustomStringConvertible {
        let step: Int
        let real: String
        let inMemory: String
        var description: String { "step \(step)\n  real:      \(real)\n  in memory: \(inMemory)" }
    }

    private let existsNeedsRead = Task { try await ServerKind.existsNeedsRead() }

    /// Runs the steps on both ZooKeepers.
    ///
    /// - Returns: The first difference.
    private func compare(
        _ steps: [Step], at servers: String, distort: @escaping (Step) -> Step = { $0 }
    ) async throws -> Difference? {
        let root = "/d-" + UUID().uuidString
        let zookeeper = InMemoryZooKeeper()
        zookeeper.existsNeedsRead = try await existsNeedsRead.value
        var real = try await Recorder(below: root) {
            RealMachine(client: try await connected(to: servers))
        }
        var inMemory = try await Recorder(below: root, distort: distort) {
            InMemoryMachine(session: zookeeper.connect())
        }
        var difference: Difference?
        for (index, step) in steps.enumerated() where difference == nil {
            let seen = (real: try await real.run(step), inMemory: try await inMemory.run(step))
            if !seen.real.isIdentical(to: seen.inMemory) {
                difference = Difference(step: index, real: seen.real, inMemory: seen.inMemory)
            }
        }
        await real.end()
        await inMemory.end()
        return difference
    }

    private func connected(to servers: String) async throws -> ZooKeeperClient {
        let client = try ZooKeeperClient(configuration: ZooKeeperConfiguration(servers: servers))
        try await client.sync()
        return client
    }

    /// Removes the steps that the difference does not need, in ever smaller parts.
    private func shrink(
        _ steps: [Step], at servers: String, distort: @escaping (Step) -> Step = { $0 }
    ) async throws -> [Step] {
        var steps = steps
        var part = steps.count / 2
        while part >= 1 {
            var start = 0
            while start < steps.count {
                var fewer = steps
                fewer.removeSubrange(start..<min(start + part, steps.count))
                if let difference = try await compare(fewer, at: servers, distort: distort) {
                    steps = Array(fewer.prefix(difference.step + 1))
                } else {
                    start += part
                }
            }
            part /= 2
        }
        return steps
    }

    @Test("The in-memory ZooKeeper behaves like a real server")
    func matchesRealServer() async throws {
        let servers = try await TestServer.address()
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var total = 0
        // Most sequences are short, because most of the interesting cases occur while the tree is nearly empty.
        for length in Array(repeating: 100, count: 60) + Array(repeating: 1_000, count: 5) {
            let steps = (0..<length).map { _ in Step.random(using: &generator) }
            total += length
            guard let difference = try await compare(steps, at: servers) else { continue }
            let shrunk = try await shrink(Array(steps.prefix(difference.step + 1)), at: servers)
            let last = try await compare(shrunk, at: servers)
            Issue.record(
                """
                seed \(seed): the in-memory ZooKeeper differs from the real server in
                \(shrunk.map(\.description).joined(separator: "\n"))
                \(last?.description ?? difference.description)
                """)
            return
        }
        print("Differential test: \(total) steps without a difference, seed \(seed)")
        #expect(total >= 10_000)
    }

    @Test("Names that differ only in their bytes are two nodes, in memory and on a real server")
    func namesAreBytes() async throws {
        let (composed, decomposed) = ("/p/\u{E9}", "/p/e\u{301}")
        let real = RealMachine(client: try await connected(to: try await TestServer.address()))
        let inMemory = InMemoryMachine(session: InMemoryZooKeeper().connect())
        for machine in [real, inMemory] as [any Machine] {
            _ = try await machine.create("/p", data: nil, mode: .persistent)
            _ = try await machine.create(composed, data: [1], mode: .persistent)
            _ = try await machine.create(decomposed, data: [2], mode: .persistent)
            #expect(try await machine.node(composed, watch: false).data == [1])
            #expect(try await machine.node(decomposed, watch: false).data == [2])
            try await machine.delete(composed, version: nil)
            let names = try await machine.children("/p", watch: false).names
            #expect(names.map { ExactString($0) } == ["e\u{301}"])
            await machine.end()
        }
    }

    @Test("Control: a step that differs is found and shrunk to a few steps")
    func findsDifference() async throws {
        let servers = try await TestServer.address()
        let withoutVersions: (Step) -> Step = { step in
            guard case .set(let path, let data, _) = step.action else { return step }
            return Step(session: step.session, action: .set(path, data: data, version: nil))
        }
        // Not every sequence contains a step that is refused because of its version.
        for seed in UInt64(1)...20 {
            var generator = SeededGenerator(seed: seed)
            let steps = (0..<300).map { _ in Step.random(using: &generator) }
            guard let difference = try await compare(steps, at: servers, distort: withoutVersions) else { continue }
            let shrunk = try await shrink(
                Array(steps.prefix(difference.step + 1)), at: servers, distort: withoutVersions)
            // Up to three steps create the node and its ancestors, and the last one differs.
            #expect(shrunk.count <= 4, "\(shrunk)")
            return
        }
        Issue.record("No difference was found in 20 sequences.")
    }
}
