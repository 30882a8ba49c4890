import Simulation
import Synchronization
import Testing
import ZooKeeper
import ZooKeeperTestKit

@testable import ZooKeeperQueue

/// Groups that change at the worst moment, and faults during the operations of an operator.
@Suite(.timeLimit(.minutes(5)))
struct GroupRaceTests {
    private static func send(_ texts: [String], to queue: MessageQueue) async throws {
        let producer = QueueProducer(queue)
        try await producer.send(contentsOf: texts.map { .init($0, id: $0, group: "g") })
        await producer.close()
    }

    private static func drain(
        _ queue: MessageQueue, _ body: (QueueMessage) async throws -> Void = { try await $0.acknowledge() }
    ) async throws -> [String] {
        let consumer = QueueConsumer(queue)
        var messages = consumer.makeAsyncIterator()
        var texts: [String] = []
        while let message = try await messages.next(within: .seconds(1)) {
            texts.append(String(decoding: message.payload, as: UTF8.self))
            try await body(message)
        }
        await consumer.close()
        return texts
    }

    @Test(
        "A message that is sent while an acknowledgement sends to its own group comes first", arguments: [false, true])
    func handOver(hasOddChild: Bool) throws {
        let simulation = Simulation(.fixed)
        try simulation.run {
            let other = try MessageQueue(store: simulation.zookeeper.connect("producer"))
            let races = Mutex(0)
            let session = simulation.zookeeper.connect("consumer")
            let store = InterceptingStore(session: session) { session, operations in
                let endsGroup = operations.contains { operation in
                    switch operation {
                    case .delete("/queue/groups/g", _), .set("/queue/groups/g", _, _): true
                    default: false
                    }
                }
                if endsGroup,
                    races.withLock({
                        $0 += 1; return $0 == 1
                    })
                {
                    try await Self.send(["2"], to: other)
                }
                return try await session.multi(operations)
            }
            let queue = try MessageQueue(store: store)
            try await Self.send(["1"], to: other)
            if hasOddChild { _ = try await session.create("/queue/groups/g/odd", data: [], mode: .persistent) }
            let texts = try await Self.drain(queue) { message in
                guard message.payload == Array("1".utf8) else { return try await message.acknowledge() }
                try await message.acknowledge(
                    sending: [.init("3", group: "g"), .init("4", group: "g")], to: queue)
            }
            #expect(texts == ["1", "2", "3", "4"] && races.withLock { $0 } > 1)
            session.close()
        }
    }

    @Test("A message that is sent while its group becomes idle is not left behind")
    func idle() throws {
        let simulation = Simulation(.fixed)
        try simulation.run {
            let queue = try MessageQueue(store: simulation.zookeeper.connect("process"))
            try await Self.send(["1"], to: queue)
            _ = try await queue.store.create("/queue/groups/g/odd", data: [], mode: .persistent)
            let key = try #require(GroupKey("g"))
            let succession = try #require(try await queue.groups.succession(of: key))
            guard case .unusable = succession.successor else { throw QueueError(.failed, "\(succession.successor)") }
            try await Self.send(["2"], to: queue)
            await #expect(throws: ZooKeeperError.self) { try await queue.store.multi(succession.operations) }
            #expect(try await Self.drain(queue) == ["1", "2"])
            #expect(try await queue.store.get("/queue/groups/g").data == GroupState.dataWhenIdle)
        }
    }

    enum Operation: CaseIterable { case redrive, purgeDeadLetters, cancelHead, cancelDeadLetter, purge }

    @Test("An operator's change of a group is complete, whichever call fails", arguments: Operation.allCases)
    func operations(_ operation: Operation) async throws {
        let isOfDeadLetter = operation != .cancelHead && operation != .purge
        @Sendable func change(_ queue: MessageQueue) async throws {
            switch operation {
            case .redrive: try await queue.redriveAll()
            case .purgeDeadLetters: try await queue.purgeDeadLetters()
            case .cancelHead, .cancelDeadLetter: try await queue.cancelMessage(id: "1")
            case .purge: try await queue.purge()
            }
        }
        let expected =
            switch operation {
            case .redrive: ["1", "2", "3"]
            case .purge: [String]()
            case .purgeDeadLetters, .cancelHead, .cancelDeadLetter: ["2", "3"]
            }
        /// Runs the operation with a fault, and then once more without.
        @Sendable func run(_ faults: FaultPlan?) throws -> (calls: Int, texts: [String], groups: Int) {
            let simulation = Simulation(.fixed)
            return try simulation.run {
                let queue = try MessageQueue(store: simulation.zookeeper.connect("process"))
                try await queue.createIfNeeded(.init(deadLetterBlocksGroup: true))
                try await Self.send(["1", "2"], to: queue)
                if isOfDeadLetter { _ = try await Self.drain(queue) { try await $0.deadLetter(reason: "tried") } }
                try await Self.send(["3"], to: queue)
                let session = simulation.zookeeper.connect("operator", faults: faults)
                try? await change(try MessageQueue(store: session))
                let calls = session.callCount
                session.crash()
                try? await change(queue)
                let texts = try await Self.drain(queue)
                return (calls, texts, try await queue.statistics().groups)
            }
        }
        let calls = try run(nil).calls
        let faults = Fault.allCases
        let found = await concurrently((calls + 1) * faults.count) { number -> String? in
            let (call, fault) = (number / faults.count, faults[number % faults.count])
            do {
                let result = try run { $0.number == call ? fault : nil }
                if result.texts == expected, result.groups == 0 { return nil }
                return "\(fault) at call \(call): \(result)"
            } catch {
                return "\(fault) at call \(call): \(error)"
            }
        }
        #expect(found.isEmpty, "\(found.prefix(5).map(\.result))")
    }
}
