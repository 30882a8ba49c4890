import Simulation
import Testing
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// A second settlement, after a first one whose reply did not come in time.
struct RepeatedSettlementTests {
    /// Claims a message, acknowledges it with a fault at that call, and passes it to `body`.
    private func afterUnansweredAcknowledgement(
        _ fault: Fault, _ body: @escaping @Sendable (QueueMessage, InMemorySession) async throws -> QueueError.Code?
    ) throws -> (code: QueueError.Code?, ready: Int) {
        let simulation = Simulation(.fixed)
        let zookeeper = simulation.zookeeper
        return try simulation.run {
            let queue = try MessageQueue(store: zookeeper.connect("producer"))
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            // The second multi of the consumer is the acknowledgement; the first is its claim.
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

    @Test("A repeated acknowledgement succeeds when the first one was applied or arrives late")
    func repeatedAcknowledgement() throws {
        for fault in [Fault.replyTooLate, .requestTooLate] {
            let outcome = try afterUnansweredAcknowledgement(fault) { message, _ in
                await code { try await message.acknowledge() }
            }
            #expect(outcome.code == nil && outcome.ready == 0)
        }
    }

    @Test(
        "A repeated acknowledgement that sends a message stores it once, although its operations differ by then",
        arguments: [Fault.replyTooLate, .requestTooLate])
    func repeatedTransaction(_ fault: Fault) throws {
        let simulation = Simulation(.fixed)
        try simulation.run {
            let queue = try MessageQueue(store: simulation.zookeeper.connect("other"))
            let producer = QueueProducer(queue)
            try await producer.send("x")
            await producer.close()
            // The first multi of the consumer is its claim. The second one is refused, because the slot of the delayed
            // message is missing.
            let multis = Counter()
            let store = simulation.zookeeper.connect(
                "consumer",
                faults: {
                    $0.request == "multi" && $0.path.hasSuffix("/active") && multis.next() == 3 ? fault : nil
                })
            let consumer = QueueConsumer(try MessageQueue(store: store))
            var messages = consumer.makeAsyncIterator()
            let message = try #require(try await messages.next())
            let next = try MessageQueue(store: store, path: "/next")
            let copy = OutgoingMessage("copy", delay: .seconds(3_600))
            let first = await code { try await message.acknowledge(sending: [copy], to: next) }
            #expect(first == .outcomeUnknown)
            // Another version of the epoch, and another due time.
            try await next.update { $0.maximumDeliveries = 3 }
            try await simulation.clock.sleep(for: .seconds(1))
            // A refusal now says nothing about the first attempt.
            try await next.update { $0.paused = [.send] }
            let early = await code { try await message.acknowledge(sending: [copy], to: next) }
            #expect(early == nil || early == .outcomeUnknown)
            try await simulation.clock.sleep(for: .seconds(60))
            let other = await code { try await message.acknowledge(sending: [], to: next) }
            #expect(other == .alreadySettled)
            if early != nil { try await message.acknowledge(sending: [copy], to: next) }
            #expect(try await next.delayedMessages().count == 1)
            #expect(try await queue.statistics().ready == 0)
            await consumer.close(gracePeriod: .zero)
            store.crash()
        }
    }

    @Test("A transaction whose mark disappears after a lost reply is not applied twice")
    func lostMark() throws {
        let simulation = Simulation(.fixed, timeLimit: .seconds(7_200))
        try simulation.run {
            let attempts = Counter()
            let session = simulation.zookeeper.connect("client")
            let store = InterceptingStore(session: session) { session, operations in
                let results = try await session.multi(operations)
                guard case .set(let mark, _, _)? = operations.first, mark.hasPrefix("/queue/producers/") else {
                    return results
                }
                _ = attempts.next()
                try await session.delete(mark, version: nil)
                throw ZooKeeperError(code: .connectionLoss, message: "", path: nil, outcome: .unknown)
            }
            let queue = try MessageQueue(store: store)
            let outcome = await code { try await queue.transaction { $0.send(.init("a"), to: queue) } }
            #expect(outcome == .outcomeUnknown)
            // The next number is that of a second attempt.
            #expect(attempts.next() == 2)
            #expect(try await queue.statistics().ready == 1)
            session.crash()
        }
    }

    @Test("A requeue after an applied acknowledgement throws alreadySettled")
    func requeueAfterAcknowledgement() throws {
        let outcome = try afterUnansweredAcknowledgement(.replyTooLate) { message, _ in
            await code { try await message.requeue() }
        }
        #expect(outcome.code == .alreadySettled && outcome.ready == 0)
    }

    @Test("The outcome of an acknowledgement stays unknown when the session has ended")
    func afterSessionEnd() throws {
        let outcome = try afterUnansweredAcknowledgement(.expiredAfter) { message, _ in
            await code { try await message.acknowledge() }
        }
        #expect(outcome.code == .outcomeUnknown && outcome.ready == 0)
    }

    @Test("The consumer itself finds out the outcome of an acknowledgement")
    func resolvesOutcome() throws {
        let outcome = try afterUnansweredAcknowledgement(.replyTooLate) { message, _ in
            #expect(await message.leaseStates.first(where: { $0 != .held }) == .settled)
            return await code { try await message.acknowledge() }
        }
        #expect(outcome.code == nil && outcome.ready == 0)
    }

    @Test("The lease stays when an acknowledgement is refused for a missing permission", arguments: [1, 3])
    func missingPermission(perNode: Int) throws {
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

    /// The reply to the transaction is lost. Its repetition is refused before the server compares the version of the
    /// consumer's node, so the consumer has to read the tree.
    @Test(
        "The consumer reads an acknowledgement's outcome from the tree when the repetition is refused",
        arguments: [1, 3])
    func refusedRepetition(perNode: Int) throws {
        let outcome = try withHeldMessages(perNode: perNode, faultAtSecondMulti: .replyTooLate) { messages, store in
            async let first = code { try await messages[0].acknowledge() }
            // The second attempt comes later, when the first attempt's deadline has passed.
            try await store.sleep(for: .seconds(1))
            try await store.setACL(of: Self.active, to: [.world([.admin, .delete])])
            let wasUnknown = await first == .outcomeUnknown
            // Long enough for the refusal of the second attempt.
            try await store.sleep(for: .seconds(60))
            try await store.setACL(of: Self.active, to: .open)
            for message in messages.dropFirst() { try await message.acknowledge() }
            let again = await code { try await messages[0].acknowledge() }
            return wasUnknown && again == nil
        }
        #expect(outcome.isAsExpected && outcome.leases == 0 && outcome.ready == 0)
    }

    @Test("A settlement that waits for an earlier transaction throws timedOut within two minutes")
    func waitsWithDeadline() throws {
        let isCut = Flag()
        let outcome = try withHeldMessages(perNode: 1, faults: { isCut.isSet && !$0.isRead ? .requestTooLate : nil }) {
            messages, store in
            isCut.isSet = true
            async let first = code { try await messages[0].acknowledge() }
            try await store.sleep(for: .seconds(1))
            let start = store.now
            let second = await code { try await messages[1].acknowledge() }
            let delay = store.now - start
            let wasUnknown = await first == .outcomeUnknown
            isCut.isSet = false
            // Long enough for the earlier attempt to fail.
            try await store.sleep(for: .seconds(60))
            for message in messages { try await message.acknowledge() }
            return wasUnknown && second == .timedOut && delay < .seconds(120)
        }
        #expect(outcome.isAsExpected && outcome.leases == 0 && outcome.ready == 0)
    }

    @Test("A settlement ends when its store returns results that do not match")
    func mismatchedResults() throws {
        let simulation = Simulation(.fixed)
        let (codes, ready) = try simulation.run { [zookeeper = simulation.zookeeper] in
            let isBroken = Flag()
            let store = InterceptingStore(session: zookeeper.connect("consumer")) { session, operations in
                let results = try await session.multi(operations)
                return isBroken.isSet ? [] : results
            }
            let queue = try MessageQueue(store: store)
            try await QueueProducer(queue).send("x")
            let codes = try await queue.withConsumer { messages in
                var messages = messages.makeAsyncIterator()
                let message = try #require(try await messages.next())
                isBroken.isSet = true
                let first = await code { try await message.acknowledge() }
                isBroken.isSet = false
                return [first, await code { try await message.acknowledge() }]
            }
            return (codes, try await queue.statistics().ready)
        }
        // The transaction was applied, which the consumer finds in the tree.
        #expect(codes == [.outcomeUnknown, nil] && ready == 0)
    }

    private static let active = "/queue/consumers/consumer-0000000000/active"

    /// Claims three messages, and passes them to `body`.
    ///
    /// - Returns: the result of `body`, and the numbers of leased and ready messages after it.
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
            // The second multi of the consumer is the first settlement; the first is its claim.
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

/// Returns the code of the error that `body` throws.
private func code(_ body: () async throws -> Void) async -> QueueError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? QueueError)?.code
    }
}
