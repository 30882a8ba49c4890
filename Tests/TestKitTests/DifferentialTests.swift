import Foundation
import QueueHistory
import Testing
import TestSupport
import ZooKeeper
import ZooKeeperNIO
import ZooKeeperServer
import ZooKeeperTestKit

/// The same steps must give the same results, errors, metadata and events in memory and on a real server, and through
/// each transport.
@Suite(.timeLimit(.minutes(5)))
struct DifferentialTests {
    private struct Difference: CustomStringConvertible {
        let step: Int
        let expected: String
        let found: String
        var description: String { "step \(step)\n  expected: \(expected)\n  found:    \(found)" }
    }

    /// Two ZooKeepers of their own: the one that is right, and the one that is compared with it. Each makes the
    /// sessions of one comparison.
    private struct Pair {
        let right: () async throws -> any Machine
        /// Returns a function that makes the sessions of an empty ZooKeeper.
        let compared: () async throws -> () async throws -> any Machine

        static func inMemory(against servers: String) async throws -> Pair {
            // Known before a comparison, whose zxids a write to the same server would change.
            let existsNeedsRead = try await ServerKind.existsNeedsRead()
            return Pair(right: { try await real(servers) }) {
                let zookeeper = InMemoryZooKeeper()
                zookeeper.existsNeedsRead = existsNeedsRead
                return { InMemoryMachine(session: zookeeper.connect()) }
            }
        }

        static func transports(_ servers: String, _ others: String, _ transport: ZooKeeperTransport) -> Pair {
            Pair(right: { try await real(servers, .cclient) }) { { try await real(others, transport) } }
        }

        private static func real(_ servers: String, _ transport: ZooKeeperTransport? = nil) async throws -> RealMachine
        {
            let client = try ZooKeeperClient(
                configuration: ZooKeeperConfiguration(servers: servers, transport: transport))
            try await client.sync()
            return RealMachine(client: client)
        }
    }

    /// Runs the steps on both ZooKeepers.
    ///
    /// - Returns: The first difference.
    private func compare(
        _ steps: [Step], _ pair: Pair, distort: @escaping (Step) -> Step = { $0 }
    ) async throws -> Difference? {
        let root = "/d-" + UUID().uuidString
        var right = try await Recorder(below: root, open: pair.right)
        var compared = try await Recorder(below: root, distort: distort, open: try await pair.compared())
        var difference: Difference?
        for (index, step) in steps.enumerated() where difference == nil {
            let seen = (right: try await right.run(step), compared: try await compared.run(step))
            if !seen.right.isIdentical(to: seen.compared) {
                difference = Difference(step: index, expected: seen.right, found: seen.compared)
            }
        }
        await right.end()
        await compared.end()
        return difference
    }

    /// Removes the steps that the difference does not need, in ever smaller parts.
    private func shrink(
        _ steps: [Step], _ pair: Pair, distort: @escaping (Step) -> Step = { $0 }
    ) async throws -> [Step] {
        var steps = steps
        var part = steps.count / 2
        while part >= 1 {
            var start = 0
            while start < steps.count {
                var fewer = steps
                fewer.removeSubrange(start..<min(start + part, steps.count))
                if let difference = try await compare(fewer, pair, distort: distort) {
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
        let total = try await findNoDifference(try await .inMemory(against: try await TestServer.address()))
        #expect(total >= 10_000)
    }

    @Test("The transports give the same results, errors, metadata and events", arguments: [false, true])
    func transportsMatch(isEncrypted: Bool) async throws {
        // Two servers, because each comparison counts zxids from its first one.
        var configuration = LocalEnsembleConfiguration.forTests()
        configuration.usesTLS = isEncrypted
        try await LocalEnsemble.withEnsemble(configuration) { ensemble in
            let transport = ensemble.certificates.map {
                ZooKeeperTransport.nio(
                    tls: .clientCertificate(chain: $0.clientCertificate, key: $0.clientKey, trust: $0.authority))
            }
            let pair = Pair.transports(
                try await TestServer.shared.ensemble().connectString,
                ensemble.secureConnectString ?? ensemble.connectString, transport ?? .nio)
            let total = try await findNoDifference(pair, sequences: isEncrypted ? 10 : 40)
            #expect(total >= 1_000)
        }
    }

    /// Compares random sequences of steps, and records the first difference with as few steps as show it.
    ///
    /// - Returns: The number of steps without a difference.
    private func findNoDifference(_ pair: Pair, sequences: Int = 60) async throws -> Int {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var total = 0
        // Most sequences are short, because most of the interesting cases occur while the tree is nearly empty.
        for length in Array(repeating: 100, count: sequences) + Array(repeating: 1_000, count: sequences / 12) {
            let steps = (0..<length).map { _ in Step.random(using: &generator) }
            guard let difference = try await compare(steps, pair) else {
                total += length
                continue
            }
            let shrunk = try await shrink(Array(steps.prefix(difference.step + 1)), pair)
            let last = try await compare(shrunk, pair)
            Issue.record(
                """
                seed \(seed): a difference after
                \(shrunk.map(\.description).joined(separator: "\n"))
                \(last?.description ?? difference.description)
                """)
            return total
        }
        print("Differential test: \(total) steps without a difference, seed \(seed)")
        return total
    }

    @Test("Names that differ only in their bytes are two nodes, in memory and on a real server")
    func namesAreBytes() async throws {
        let (composed, decomposed) = ("/p/\u{E9}", "/p/e\u{301}")
        let pair = try await Pair.inMemory(against: try await TestServer.address())
        for machine in [try await pair.right(), try await pair.compared()()] {
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
        let pair = try await Pair.inMemory(against: try await TestServer.address())
        let withoutVersions: (Step) -> Step = { step in
            guard case .set(let path, let data, _) = step.action else { return step }
            return Step(session: step.session, action: .set(path, data: data, version: nil))
        }
        // Not every sequence contains a step that is refused because of its version.
        for seed in UInt64(1)...20 {
            var generator = SeededGenerator(seed: seed)
            let steps = (0..<300).map { _ in Step.random(using: &generator) }
            guard let difference = try await compare(steps, pair, distort: withoutVersions) else { continue }
            let shrunk = try await shrink(
                Array(steps.prefix(difference.step + 1)), pair, distort: withoutVersions)
            // Up to three steps create the node and its ancestors, and the last one differs.
            #expect(shrunk.count <= 4, "\(shrunk)")
            return
        }
        Issue.record("No difference was found in 20 sequences.")
    }
}
