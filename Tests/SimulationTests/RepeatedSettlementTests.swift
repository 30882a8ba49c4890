import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// What a second settlement is told, after one whose answer did not come in time.
struct RepeatedSettlementTests {
    /// Takes a message, acknowledges it with a fault at that call, and gives it to `body`.
    private func afterAnUnansweredAcknowledgement(
        _ fault: Fault, _ body: @escaping @Sendable (QueueMessage, InMemorySession) async throws -> QueueError.Code?
    ) throws -> (code: QueueError.Code?, ready: Int) {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        return try simulation.run {
            let queue = try MessageQueue(store: zookeeper.connect("producer"))
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            // The second multi of a consumer; the first is its claim.
            let multis = Counter()
            let store = zookeeper.connect(
                "consumer", faults: { $0.request == "multi" && multis.next() == 2 ? fault : nil })
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            let first = await code { try await message.acknowledge() }
            #expect(first == .outcomeUnknown)
            let second = try await body(message, store)
            await consumer.close(gracePeriod: .zero)
            return (second, try await queue.statistics().ready)
        }
    }

    @Test func theSameOneSucceeds() throws {
        for fault in [Fault.replyTooLate, .requestTooLate] {
            let outcome = try afterAnUnansweredAcknowledgement(fault) { message, _ in
                await code { try await message.acknowledge() }
            }
            #expect(outcome.code == nil && outcome.ready == 0)
        }
    }

    @Test func anotherOneIsToldOfTheFirst() throws {
        let outcome = try afterAnUnansweredAcknowledgement(.replyTooLate) { message, _ in
            await code { try await message.requeue() }
        }
        #expect(outcome.code == .alreadySettled && outcome.ready == 0)
    }

    @Test func afterTheSessionsEndTheOutcomeStaysUnknown() throws {
        let outcome = try afterAnUnansweredAcknowledgement(.expiredAfter) { message, _ in
            await code { try await message.acknowledge() }
        }
        #expect(outcome.code == .outcomeUnknown && outcome.ready == 0)
    }

    /// The consumer itself goes on to find out, since nothing else can be sent before.
    @Test func whatWasUnknownIsResolvedByItself() throws {
        let outcome = try afterAnUnansweredAcknowledgement(.replyTooLate) { message, _ in
            #expect(await message.leaseStates.first(where: { $0 != .held }) == .settled)
            return await code { try await message.acknowledge() }
        }
        #expect(outcome.code == nil && outcome.ready == 0)
    }

    /// A refusal for want of a right is no end of the session: the lease stays, and may be settled later.
    @Test(arguments: [1, 3]) func afterARefusalTheLeaseIsStillHeld(perNode: Int) throws {
        let outcome = try withHeldMessages(perNode: perNode) { messages, store in
            try await store.setACL(of: Self.active, to: [.world([.admin, .delete])])
            let refused = await code { try await messages[0].acknowledge() }
            let isHeld = messages[0].leaseState == .held
            try await store.setACL(of: Self.active, to: .open)
            for message in messages { try await message.acknowledge() }
            return refused == .permissionDenied && isHeld
        }
        #expect(outcome.isAsExpected && outcome.leases == 0 && outcome.ready == 0)
    }

    /// The answer to a step is lost, and when it is sent again, it is refused before it can be seen that it was applied:
    /// then what stands in the tree is what holds, and nothing is settled twice.
    @Test(arguments: [1, 3]) func whatWasGivenUpInDoubtIsReadFromTheTree(perNode: Int) throws {
        let outcome = try withHeldMessages(perNode: perNode, faultAtSecondMulti: .replyTooLate) { messages, store in
            async let first = code { try await messages[0].acknowledge() }
            // In time for the second attempt, which comes when the first one's deadline has passed.
            try await store.sleep(for: .seconds(1))
            try await store.setACL(of: Self.active, to: [.world([.admin, .delete])])
            let wasUnknown = await first == .outcomeUnknown
            // The refusal of the second attempt has come by then.
            try await store.sleep(for: .seconds(60))
            try await store.setACL(of: Self.active, to: .open)
            for message in messages.dropFirst() { try await message.acknowledge() }
            let again = await code { try await messages[0].acknowledge() }
            return wasUnknown && again == nil
        }
        #expect(outcome.isAsExpected && outcome.leases == 0 && outcome.ready == 0)
    }

    /// Who settles while an earlier step has no answer is told so in time, and that nothing was sent.
    @Test func whatWaitsBehindAnUnansweredStepHasADeadline() throws {
        let isCut = Flag()
        let outcome = try withHeldMessages(perNode: 1, faults: { isCut.isSet && !$0.isRead ? .requestTooLate : nil }) {
            messages, store in
            isCut.isSet = true
            async let first = code { try await messages[0].acknowledge() }
            try await store.sleep(for: .seconds(1))
            let start = store.now
            let second = await code { try await messages[1].acknowledge() }
            let took = store.now - start
            let wasUnknown = await first == .outcomeUnknown
            isCut.isSet = false
            // The attempt that was sent before has failed by then.
            try await store.sleep(for: .seconds(60))
            for message in messages { try await message.acknowledge() }
            return wasUnknown && second == .timedOut && took < .seconds(120)
        }
        #expect(outcome.isAsExpected && outcome.leases == 0 && outcome.ready == 0)
    }

    private static let active = "/queue/consumers/consumer-0000000000/active"

    /// Takes three messages, and gives them to `body`.
    ///
    /// - Returns: what it says, and how many messages are leased and ready after it.
    private func withHeldMessages(
        perNode: Int, faultAtSecondMulti: Fault? = nil, faults: (@Sendable (RequestContext) -> Fault?)? = nil,
        _ body: @escaping @Sendable ([QueueMessage], InMemorySession) async throws -> Bool
    ) throws -> (isAsExpected: Bool, leases: Int, ready: Int) {
        let simulation = Simulation(.fixed)
        return try simulation.run { [zookeeper = simulation.zookeeper] in
            let queue = try MessageQueue(
                store: zookeeper.connect("producer")
            ).creating(with: .init(maximumBatchSize: perNode))
            let producer = QueueProducer(queue)
            try await producer.send(contentsOf: (0..<3).map { OutgoingMessage("\($0)") })
            await producer.close()
            // The first multi of a consumer is its claim.
            let multis = Counter()
            let store = zookeeper.connect(
                "consumer",
                faults: faults ?? { $0.request == "multi" && multis.next() == 2 ? faultAtSecondMulti : nil })
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var iterator = consumer.makeAsyncIterator()
            var messages: [QueueMessage] = []
            for _ in 0..<3 { messages.append(try #require(try await iterator.next())) }
            let isAsExpected = try await body(messages, store)
            let statistics = try await queue.statistics()
            await consumer.close(gracePeriod: .zero)
            return (isAsExpected, statistics.leased, statistics.ready)
        }
    }
}

/// The code of what `body` throws.
private func code(_ body: () async throws -> Void) async -> QueueError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? QueueError)?.code
    }
}
