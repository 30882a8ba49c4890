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
            await code { try await message.giveBack() }
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
            #expect(await message.stateChange(from: .held) == .settled)
            return await code { try await message.acknowledge() }
        }
        #expect(outcome.code == nil && outcome.ready == 0)
    }

    /// A refusal for want of a right is no end of the session: the lease stays, and may be settled later.
    @Test func afterARefusalTheLeaseIsStillHeld() throws {
        let simulation = Simulation(.fixed)
        let outcome = try simulation.run { [zookeeper = simulation.zookeeper] in
            let store = zookeeper.connect()
            let queue = try MessageQueue(store: store)
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            let consumer = QueueConsumer(queue)
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            let active = "/queue/consumers/consumer-0000000000/active"
            try await store.setACL(of: active, to: [.world([.admin, .delete])])
            let refused = await code { try await message.acknowledge() }
            let isHeld = message.state == .held
            try await store.setACL(of: active, to: .open)
            let second = await code { try await message.acknowledge() }
            await consumer.close()
            return (refused, isHeld, second)
        }
        #expect(outcome.0 == .notPermitted && outcome.1 && outcome.2 == nil)
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
