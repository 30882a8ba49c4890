import Synchronization
import Testing
import ZooKeeper

@testable import ZooKeeperQueue

struct RecoveryPassTests {
    /// Counts the duties that ran.
    private final class RunCount: Sendable {
        private let value = Mutex(0)
        var current: Int { value.withLock { $0 } }
        func increment() { value.withLock { $0 += 1 } }
    }

    /// Does one thing, and then fails when it has an error to throw.
    private struct FakeDuty: RecoveryDuty {
        private let failure: (any Error)?
        private let runs: RunCount
        private(set) var report = RecoveryReport()

        init(_ failure: (any Error)? = nil, runs: RunCount = RunCount()) {
            self.failure = failure
            self.runs = runs
        }

        mutating func run() async throws {
            runs.increment()
            report.recovered += 1
            if let failure { throw failure }
        }
    }

    private static func error(
        _ code: ZooKeeperError.Code, _ outcome: ZooKeeperError.Outcome = .notApplied
    ) -> ZooKeeperError {
        ZooKeeperError(code: code, message: "", path: nil, outcome: outcome)
    }

    @Test("A refusal ends one duty, and is thrown after the other duties")
    func refusal() async throws {
        let runs = RunCount()
        var pass = RecoveryPass()
        try await pass.run([FakeDuty(Self.error(.noAuth), runs: runs), FakeDuty(runs: runs)])
        try await pass.run([FakeDuty(runs: runs)])
        #expect(runs.current == 3)
        let thrown = #expect(throws: ZooKeeperError.self) { try pass.result() }
        #expect(thrown?.code == .noAuth)
    }

    @Test("The first of several refusals is thrown")
    func firstRefusal() async throws {
        var pass = RecoveryPass()
        try await pass.run([
            FakeDuty(FolderRefusal(cause: Self.error(.quotaExceeded))), FakeDuty(Self.error(.noAuth)),
        ])
        let thrown = #expect(throws: ZooKeeperError.self) { try pass.result() }
        #expect(thrown?.code == .quotaExceeded)
    }

    @Test("A missing node is not a failure, and earlier work counts")
    func missingNode() async throws {
        var pass = RecoveryPass()
        try await pass.run([FakeDuty(Self.error(.noNode)), FakeDuty()])
        #expect(try pass.result().recovered == 2)
    }

    @Test(
        "An error that every duty would meet ends the pass",
        arguments: [
            error(.connectionLoss, .unknown), error(.deadlineExceeded), error(.closed), CancellationError(),
            QueueError(.unsupportedFormat, ""),
        ] as [any Error])
    func otherErrors(error: any Error) async throws {
        let runs = RunCount()
        var pass = RecoveryPass()
        do {
            try await pass.run([FakeDuty(error, runs: runs), FakeDuty(runs: runs)])
            Issue.record("The pass continued")
        } catch {
            #expect(runs.current == 1)
        }
    }

    @Test("Reports add up in every field")
    func sum() {
        let report = RecoveryReport(
            recovered: 1, redelivered: 2, deadLettered: 3, expired: 10, madeReady: 9, consumersRemoved: 4,
            producerStatesRemoved: 5,
            incompleteItemsRemoved: 6, deduplicationIDsExpired: 7, sequenceRollovers: 8)
        var sum = report
        sum += report
        for (field, doubled) in zip(Mirror(reflecting: report).children, Mirror(reflecting: sum).children) {
            let value = field.value as? Int ?? 0
            #expect(value > 0 && doubled.value as? Int == 2 * value, "\(field.label ?? "")")
        }
    }
}
