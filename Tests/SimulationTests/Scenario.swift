import QueueHistory
import Simulation
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// One protocol of the queue, played by one process that faults happen to.
struct Scenario: Sendable, CustomStringConvertible {
    let description: String
    /// Whether first deliveries must come in the order of sending.
    var isOrdered = true
    var maximumDeliveries = 10
    /// When the server's numbers begin anew.
    var sequenceRolloverThreshold = 1_500_000_000
    /// How much may stand in the queue.
    var capacity = QueueCapacity()
    /// Whether messages are sent with an id, which is remembered for a minute at least.
    var sendsIDs = false
    /// Nodes that must be there in the end.
    var expectedNodes: [String] = []
    /// A message that the process itself must take, however late: it goes on after whatever has happened.
    var mustTake: String?
    let body: @Sendable (FaultHarness, InMemorySession) async throws -> Void

    /// The process's name.
    private static let name = "subject"

    /// Plays it once.
    ///
    /// - Returns: how many calls the process made, and the promises that were not kept.
    func play(_ subject: any Subject, faults: FaultPlan? = nil) -> (calls: Int, result: CheckResult) {
        var harness = FaultHarness(subject)
        harness.maximumDeliveries = maximumDeliveries
        let store = harness.session(Self.name, faults: faults)
        let result = harness.run(isOrdered: isOrdered) { harness in
            try await body(harness, store)
            store.clearFaults()
        }
        var missing = expectedNodes.filter { harness.simulation.zookeeper.nodes[$0] == nil }.map {
            Violation(.noneLost, "an acknowledgement had no effect: \($0)")
        }
        let taken = harness.history.events.filter { $0.kind == .delivered && $0.member == Self.name }.map(\.message)
        if let mustTake, !taken.contains(mustTake) {
            missing.append(Violation(.drainedInTime, "the consumer did not take \(mustTake)"))
        }
        let byMembers = result.byMembers + missing
        return (store.callCount, CheckResult(byMembers: byMembers, byWitness: result.byWitness))
    }

    private static let three = ["a", "b", "c"]

    static let send = Scenario(description: "send") { harness, store in
        try await harness.produce(three, by: name, store)
    }

    static let sendMany = Scenario(description: "send many") { harness, store in
        try await harness.produce((10..<20).map { "m\($0)" }, by: name, store, together: true)
    }

    static let sendInFlight = Scenario(description: "send several batches at once") { harness, store in
        try await harness.produceInFlight(three + ["d", "e"], by: name, store)
    }

    static let acknowledge = Scenario(description: "claim and acknowledge") { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store)
    }

    /// Each acknowledgement creates a node in the same step: all of them, and none twice, which would be refused.
    static let acknowledgeWithEffect = Scenario(
        description: "acknowledge with an effect", expectedNodes: three.map { "/effects/\($0)" }
    ) { harness, store in
        let producer = harness.session("producer")
        _ = try await producer.create("/effects", data: [], mode: .persistent)
        try await harness.produce(three, by: "producer", producer)
        try await harness.consumeTogether(3, by: name, store)
    }

    // A consumer that could not leave the tree in time counts as another one, with which the order is shared.
    static let acknowledgeTogether = Scenario(description: "acknowledge together", isOrdered: false) { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.consumeTogether(3, by: name, store)
    }

    /// The same sequence goes on over whatever happens to its first calls, and takes what comes later.
    static let goingOn = Scenario(description: "going on", mustTake: "late") { harness, store in
        try await harness.produce(["early"], by: "producer", harness.session("producer"))
        async let consumed: Void = harness.consume(by: name, store, idle: .seconds(200))
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(200))
        try await harness.clock.sleep(for: .seconds(90))
        try await harness.produce(["late"], by: "producer", harness.session("producer"))
        _ = try await (consumed, recovered)
    }

    static let requeue = Scenario(description: "give back") { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
    }

    static let giveBackTooOften = Scenario(description: "give back too often", maximumDeliveries: 2) { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.payload == "b" ? .requeue : .acknowledge }
    }

    static let deadLetter = Scenario(description: "dead-letter") { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store) { $0.payload == "b" ? .deadLetter : .acknowledge }
    }

    static let recovery = Scenario(description: "recovery and redelivery") { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 2)
        try? await harness.subject.recover(store)
    }

    static let recoveryOfTheLiving = Scenario(
        description: "recovery beside a living consumer", isOrdered: false
    ) { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        async let consumed: Void = harness.consume(by: "alive", harness.session("alive"), idle: .seconds(1)) { _ in
            .hold(.seconds(8))
        }
        try await harness.clock.sleep(for: .seconds(5))
        try? await harness.subject.recover(store)
        try await harness.consume(by: "other", harness.session("other"))
        try await consumed
    }

    static let redeliveryToTheDead = Scenario(
        description: "redelivery to the dead letters", maximumDeliveries: 2
    ) { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 2)
        try await harness.subject.recover(harness.session("recovery"))
        try await harness.crash(by: "failed again", harness.session("failed again"), holding: 1)
        try? await harness.subject.recover(store)
    }

    static let registration = Scenario(description: "registration") { harness, store in
        try await harness.consume(by: name, store, idle: .seconds(1))
    }

    // What is released late comes late.
    static let shutdown = Scenario(description: "shutdown", isOrdered: false) { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        var receiver = try harness.receiver(store, prefetch: 3)
        _ = try? await receiver.next(within: .seconds(1))
        await receiver.close()
    }

    /// The process stops while it works on a message, until its session has expired and another has the message; then
    /// it goes on and acknowledges.
    static let slowHandler = Scenario(description: "a handler slower than its session", isOrdered: false) {
        harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        async let consumed: Void = harness.consume(by: name, store, prefetch: 1) { delivery in
            store.pause(for: .seconds(14))
            return .hold(.seconds(15))
        }
        try await harness.clock.sleep(for: .seconds(12))
        try await harness.subject.recover(harness.session("recovery"))
        try await harness.consume(by: "other", harness.session("other"), prefetch: 1) { _ in .hold(.seconds(6)) }
        try await consumed
    }

    /// The process is killed while it holds messages.
    static let crash = Scenario(description: "crash of a consumer") { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: name, store, holding: 2)
    }

    /// Messages of several kinds carry names of the old epoch: ready ones, those of a failed consumer, a dead letter.
    static let passage = Scenario(description: "passage to a new epoch", sequenceRolloverThreshold: 4) {
        harness, store in
        try await harness.produce(["x"], by: "producer", harness.session("producer"))
        try await harness.consume(by: "other", harness.session("other")) { _ in .deadLetter }
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        try await harness.crash(by: "failed", harness.session("failed"), holding: 2)
        try? await harness.subject.recover(store)
        try await harness.produce(["e", "f"], by: "producer", harness.session("producer"), together: true)
    }

    // One that fails gives back late what comes before the others.
    static let sendOverPassages = Scenario(
        description: "send over passages", isOrdered: false, sequenceRolloverThreshold: 1
    ) { harness, store in
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(60))
        try await harness.produce(three + ["d", "e"], by: name, store)
        try await recovered
    }

    static let takeOverPassages = Scenario(
        description: "take over passages", isOrdered: false, sequenceRolloverThreshold: 1
    ) { harness, store in
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(60))
        try await harness.produce(three, by: "producer", harness.session("producer"))
        try await harness.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
        try await harness.produce(["d", "e"], by: "producer", harness.session("producer"), together: true)
        try await harness.consume(by: name, store)
        try await recovered
    }

    // The consumer shares the order with what the judge takes in the end.
    static let sendToAFullQueue = Scenario(
        description: "send to a full queue", isOrdered: false, capacity: .init(messages: 2)
    ) { harness, store in
        async let produced: Void = harness.produce(three + ["d", "e"], by: name, store)
        // Long enough for the queue to be full.
        try await harness.clock.sleep(for: .seconds(2))
        async let recovered: Void = harness.recover(harness.session("recovery"), for: .seconds(100))
        try await harness.consume(by: "other", harness.session("other"), prefetch: 1, idle: .seconds(60))
        _ = try await (produced, recovered)
    }

    /// Somebody else sends the same messages again.
    static let sendWithIDs = Scenario(description: "send with ids", sendsIDs: true) { harness, store in
        try await harness.produceInFlight(three, by: name, store)
        try await harness.produce(three + ["d"], by: "again", harness.session("again"), together: true)
    }

    static let sendAgain = Scenario(description: "send again", sendsIDs: true) { harness, store in
        try await harness.produce(three, by: "producer", harness.session("producer"), together: true)
        // A recovery that has seen the bucket for long enough begins another: the ids are in the former one then.
        let recovery = harness.session("recovery")
        try await harness.subject.recover(recovery)
        try await harness.clock.sleep(for: .seconds(70))
        try await harness.subject.recover(recovery)
        try await harness.produce(["b", "d", "a", "c", "e"], by: name, store, together: true)
    }

    /// The first bucket is removed; what was sent in between is remembered.
    static let forgetIDs = Scenario(description: "forget ids", sendsIDs: true) { harness, store in
        let producer = harness.session("producer")
        try await harness.produce(three, by: "producer", producer, together: true)
        try? await harness.subject.recover(store)
        try await harness.clock.sleep(for: .seconds(70))
        for _ in 0..<2 { try? await harness.subject.recover(store) }
        try await harness.produce(["d", "e"], by: "producer", producer, together: true)
        try await harness.clock.sleep(for: .seconds(70))
        for _ in 0..<2 { try? await harness.subject.recover(store) }
        try await harness.produce(["e", "d"], by: "again", harness.session("again"))
    }

    static let all = [
        sendWithIDs, sendAgain, forgetIDs,
        sendToAFullQueue, passage, sendOverPassages, takeOverPassages,
        send, sendMany, sendInFlight, acknowledge, acknowledgeTogether, acknowledgeWithEffect, goingOn, requeue,
        giveBackTooOften,
        deadLetter, recovery,
        recoveryOfTheLiving,
        redeliveryToTheDead, registration, shutdown, slowHandler, crash,
    ]
}
