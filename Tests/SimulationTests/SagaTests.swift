import Foundation
import QueueHistory
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST
import ZooKeeperTestKit

/// The queue over a ZooKeeper without transactions, as over a REST gateway that has none: whatever happens at any call of any
/// protocol, no message is lost.
@Suite(.timeLimit(.minutes(10)))
struct SagaTests {
    /// Each operation of a session by itself.
    private struct Singles: SingleOperations {
        private let session: InMemorySession
        let sessionID: Int64

        init(session: InMemorySession) {
            self.session = session
            sessionID = session.sessionState.sessionID
        }

        private var bound: InMemorySession {
            get throws {
                if session.sessionState.sessionID == sessionID { return session }
                throw ZooKeeperError(code: .sessionMoved, message: "another", path: nil, outcome: .notApplied)
            }
        }
        func createNode(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> String {
            try await bound.create(path, data: data, mode: mode).path
        }
        func delete(_ path: String, version: Int32?) async throws {
            try await bound.delete(path, version: version)
        }
        func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
            try await bound.set(path, data: data, version: version)
        }
        func get(_ paths: [String]) async throws -> [Node?] { try await bound.get(paths) }
    }

    /// The queue whose multis are done in this way.
    private func subject(
        _ scenario: Scenario,
        _ perform:
            @escaping @Sendable (InMemorySession) ->
            @Sendable (InMemorySession, [ZooKeeper.ZooKeeperOperation])
            async throws -> [OperationResult]
    ) -> OurQueue {
        var subject = OurQueue(
            attributes: .init(
                maximumDeliveries: scenario.maximumDeliveries, deduplicationWindow: .seconds(60),
                capacity: scenario.capacity),
            sendsIDs: scenario.sendsIDs)
        subject.producersStore = { InterceptingStore(session: $0, performing: perform($0)) }
        subject.consumersStore = subject.producersStore
        subject.recoverysStore = subject.producersStore
        return subject
    }

    private func stepped(_ scenario: Scenario) -> OurQueue {
        subject(scenario) { _ in
            let transactions = SagaRunner()
            return { try await transactions.perform($1, on: Singles(session: $0)) }
        }
    }

    /// The flaw: the operations in the order in which they stand, a delete before the create that belongs to it.
    private func naive(_ scenario: Scenario) -> OurQueue {
        subject(scenario) { _ in
            { session, operations in
                var results: [OperationResult] = []
                for (index, operation) in operations.enumerated() {
                    do {
                        results.append(try await session.multi([operation])[0])
                    } catch let error as ZooKeeperError where error.outcome == .notApplied {
                        throw ZooKeeperError(
                            code: error.code, message: error.message, path: error.path, operationIndex: index,
                            outcome: .notApplied)
                    }
                }
                return results
            }
        }
    }

    /// All protocols, but what is not promised without transactions: the passage to a new epoch, and an effect that happens with
    /// its acknowledgement.
    private static let episodes = Scenario.all.filter {
        $0.sequenceRolloverThreshold > 1_000 && $0.expectedNodes.isEmpty
    }

    @Test(arguments: episodes) func nothingIsLost(_ scenario: Scenario) async {
        let (calls, result) = scenario.play(stepped(scenario))
        // The witness sees a message in two places between two steps.
        #expect(result.byMembers.isEmpty, "without a fault: \(result.byMembers)")
        let faults = Fault.allCases
        // A part of them each time, another one by chance; all with `EXHAUSTIVE=1 make test`.
        let total = calls * faults.count
        let part = ProcessInfo.processInfo.environment["EXHAUSTIVE"].flatMap(Int.init) ?? 8
        let offset = Int.random(in: 0..<part)
        let found = await concurrently((total - offset + part - 1) / part) { index -> [Violation]? in
            let number = index * part + offset
            let (call, fault) = (number / faults.count + 1, faults[number % faults.count])
            let violations = scenario.play(stepped(scenario)) { $0.number == call ? fault : nil }.result.byMembers
            return violations.isEmpty ? nil : violations
        }
        let kept: Set<Invariant> = [.noneLost, .nothingUnexpected, .drainedInTime]
        let lost = found.compactMap { index, violations -> String? in
            let lost = violations.filter { kept.contains($0.invariant) }
            if lost.isEmpty { return nil }
            let number = index * part + offset
            return "\(faults[number % faults.count]) at call \(number / faults.count + 1): \(lost)"
        }
        #expect(lost.isEmpty, "\(lost.prefix(10).joined(separator: "\n"))")
        let kinds = Dictionary(grouping: found.flatMap { Set($0.result.map(\.invariant)) }) { $0 }.mapValues(\.count)
        print(
            "\(scenario) in steps: \(calls) calls, one in \(part) of \(total) runs, less than the guarantee: \(kinds)")
    }

    /// Two recoveries move the same message, and the first answer to one of them is lost: what the other has made is not taken for its
    /// own, or it would be undone with it.
    @Test func whatSomebodyElseHasMadeIsNotTakenForOnesOwn() async throws {
        struct Interrupted: SingleOperations {
            let singles: Singles
            let isFirst = Counter()
            var sessionID: Int64 { singles.sessionID }
            func createNode(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> String {
                let created = try await singles.createNode(path, data: data, mode: mode)
                if isFirst.next() > 1 { return created }
                throw ZooKeeperError(code: .connectionLoss, message: "lost", path: path, outcome: .unknown)
            }
            func delete(_ path: String, version: Int32?) async throws {
                try await singles.delete(path, version: version)
            }
            func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
                try await singles.set(path, data: data, version: version)
            }
            func get(_ paths: [String]) async throws -> [Node?] { try await singles.get(paths) }
        }
        let session = InMemoryZooKeeper().connect()
        for path in ["/partial", "/items"] { _ = try await session.create(path, data: [1], mode: .persistent) }
        let error = await #expect(throws: ZooKeeperError.self) {
            _ = try await SagaRunner().perform(
                [.delete("/partial", version: 0), .create("/items/1", data: [1])],
                on: Interrupted(singles: Singles(session: session)))
        }
        #expect(error?.outcome == .unknown)
        let left = try await session.get(["/partial", "/items/1"])
        #expect(left.allSatisfy { $0 != nil }, "in two places, and not in none")
        session.close()
    }

    @Test func theWrongOrderIsFound() async {
        let scenario = Scenario.acknowledge
        let calls = scenario.play(naive(scenario)).calls
        let faults = Fault.allCases
        let found = await concurrently(calls * faults.count) { number -> [Violation]? in
            let (call, fault) = (number / faults.count + 1, faults[number % faults.count])
            let lost = scenario.play(naive(scenario)) { $0.number == call ? fault : nil }.result.byMembers.filter {
                $0.invariant == .noneLost
            }
            return lost.isEmpty ? nil : lost
        }
        #expect(!found.isEmpty)
    }
}
