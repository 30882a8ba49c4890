import Foundation
import QueueHistory
import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperREST
import ZooKeeperTestKit

/// The queue on a store without transactions, such as a REST gateway that has none.
@Suite(.timeLimit(.minutes(10)))
struct SagaTests {
    /// The operations of one session, which fail after the session has been replaced.
    private struct SessionOperations: SingleOperations {
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

    /// Returns the queue on a store that performs multis with the given function.
    private func makeQueue(
        _ scenario: Scenario,
        _ perform:
            @escaping @Sendable (InMemorySession) ->
            @Sendable (InMemorySession, [ZooKeeper.ZooKeeperOperation])
            async throws -> [OperationResult]
    ) -> OurQueue {
        var queue = OurQueue(
            attributes: .init(
                maximumDeliveries: scenario.maximumDeliveries, deduplicationWindow: .seconds(60),
                capacity: scenario.capacity),
            sendsIDs: scenario.sendsIDs)
        queue.producerStore = { InterceptingStore(session: $0, performing: perform($0)) }
        queue.consumerStore = queue.producerStore
        queue.recoveryStore = queue.producerStore
        return queue
    }

    /// Returns the queue on a store that performs a multi as a saga.
    private func sagaQueue(_ scenario: Scenario) -> OurQueue {
        makeQueue(scenario) { _ in
            let runner = SagaRunner()
            return { try await runner.perform($1, on: SessionOperations(session: $0)) }
        }
    }

    /// Returns the queue with a flaw: the store performs the operations of a multi in their order, with a delete before
    /// the create that belongs to it.
    private func naiveQueue(_ scenario: Scenario) -> OurQueue {
        makeQueue(scenario) { _ in
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

    @Test("A store without transactions refuses messages of groups, and leaves those of other processes alone")
    func groups() throws {
        let simulation = Simulation(.fixed)
        try simulation.run {
            let session = simulation.zookeeper.connect("process")
            let (atomic, queue) = (
                try MessageQueue(store: session),
                try MessageQueue(store: InterceptingStore(session: session, isAtomic: false))
            )
            let producer = QueueProducer(queue)
            do {
                try await producer.send(.init("x", group: "g"))
                Issue.record("The message was sent.")
            } catch let error as QueueError {
                #expect(error.code == .invalidArgument, "\(error)")
            }
            try await producer.send("y")
            await producer.close()
            let other = QueueProducer(atomic)
            try await other.send(.init("z", group: "g"))
            await other.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next(within: .seconds(1)))
            #expect(message.payload == Array("y".utf8))
            try await message.acknowledge()
            #expect(try await messages.next(within: .seconds(1))?.payload == nil)
            await consumer.close()
            #expect(try await atomic.statistics().ready == 1)
            session.close()
        }
    }

    /// All protocols except those that need transactions: rollovers, and an effect or a message in the same transaction
    /// as its acknowledgement.
    private static let scenarios = Scenario.all.filter { scenario in
        guard case .none = scenario.copies, case .none = scenario.groups else { return false }
        return scenario.sequenceRolloverThreshold > 1_000 && scenario.expectedNodes.isEmpty
    }

    @Test("No message is lost without transactions, with any fault at any call of a protocol", arguments: scenarios)
    func nothingIsLost(_ scenario: Scenario) async {
        let (calls, result) = scenario.run(sagaQueue(scenario))
        // Only the history counts, because the monitor finds a message in two places between two operations.
        #expect(result.byHistory.isEmpty, "without a fault: \(result.byHistory)")
        let faults = Fault.allCases
        // Each test run plays one fault in `part`, chosen at random. `EXHAUSTIVE=1 make test` plays all.
        let total = calls * faults.count
        let part = ProcessInfo.processInfo.environment["EXHAUSTIVE"].flatMap(Int.init) ?? 8
        let offset = Int.random(in: 0..<part)
        let found = await concurrently((total - offset + part - 1) / part) { index -> [Violation]? in
            let number = index * part + offset
            let (call, fault) = (number / faults.count + 1, faults[number % faults.count])
            let violations = scenario.run(sagaQueue(scenario)) { $0.number == call ? fault : nil }.result.byHistory
            return violations.isEmpty ? nil : violations
        }
        let promised: Set<Invariant> = [.noneLost, .nothingUnexpected, .drainedInTime]
        let lost = found.compactMap { index, violations -> String? in
            let lost = violations.filter { promised.contains($0.invariant) }
            if lost.isEmpty { return nil }
            let number = index * part + offset
            return "\(faults[number % faults.count]) at call \(number / faults.count + 1): \(lost)"
        }
        #expect(lost.isEmpty, "\(lost.prefix(10).joined(separator: "\n"))")
        let kinds = Dictionary(grouping: found.flatMap { Set($0.result.map(\.invariant)) }) { $0 }.mapValues(\.count)
        print(
            "\(scenario) as a saga: \(calls) calls, one in \(part) of \(total) runs; runs by broken promise: \(kinds)"
        )
    }

    /// Two recoveries can move the same message. If a saga undid a node that another recovery may have created, the
    /// message would be lost.
    @Test("A saga does not undo a node that another process may have created")
    func foreignNodeIsKept() async throws {
        struct LostFirstReply: SingleOperations {
            let operations: SessionOperations
            let creations = Counter()
            var sessionID: Int64 { operations.sessionID }
            func createNode(_ path: String, data: [UInt8]?, mode: CreateMode) async throws -> String {
                let created = try await operations.createNode(path, data: data, mode: mode)
                if creations.next() > 1 { return created }
                throw ZooKeeperError(code: .connectionLoss, message: "lost", path: path, outcome: .unknown)
            }
            func delete(_ path: String, version: Int32?) async throws {
                try await operations.delete(path, version: version)
            }
            func set(_ path: String, data: [UInt8]?, version: Int32?) async throws -> Stat {
                try await operations.set(path, data: data, version: version)
            }
            func get(_ paths: [String]) async throws -> [Node?] { try await operations.get(paths) }
        }
        let session = InMemoryZooKeeper().connect()
        for path in ["/partial", "/items"] { _ = try await session.create(path, data: [1], mode: .persistent) }
        let error = await #expect(throws: ZooKeeperError.self) {
            _ = try await SagaRunner().perform(
                [.delete("/partial", version: 0), .create("/items/1", data: [1])],
                on: LostFirstReply(operations: SessionOperations(session: session)))
        }
        #expect(error?.outcome == .unknown)
        let nodes = try await session.get(["/partial", "/items/1"])
        #expect(nodes.allSatisfy { $0 != nil }, "The message must be in both places rather than in none.")
        session.close()
    }

    @Test("The checker catches a store that deletes a node before it creates the new one")
    func wrongOrder() async {
        let scenario = Scenario.acknowledge
        let calls = scenario.run(naiveQueue(scenario)).calls
        let faults = Fault.allCases
        let found = await concurrently(calls * faults.count) { number -> [Violation]? in
            let (call, fault) = (number / faults.count + 1, faults[number % faults.count])
            let lost = scenario.run(naiveQueue(scenario)) { $0.number == call ? fault : nil }.result.byHistory.filter {
                $0.invariant == .noneLost
            }
            return lost.isEmpty ? nil : lost
        }
        #expect(!found.isEmpty)
    }
}
