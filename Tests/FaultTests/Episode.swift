import QueueHistory
import Simulation
import ZooKeeper
import ZooKeeperQueue
import ZooKeeperTestKit

/// One protocol of the queue, played by one process that faults happen to.
struct Episode: Sendable, CustomStringConvertible {
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
    let body: @Sendable (Theatre, InMemorySession) async throws -> Void

    /// The process's name.
    private static let name = "subject"

    /// Plays it once.
    ///
    /// - Returns: how many calls the process made, and the promises that were not kept.
    func play(_ subject: any Subject, faults: FaultPlan? = nil) -> (calls: Int, judgement: Judgement) {
        var theatre = Theatre(subject)
        theatre.maximumDeliveries = maximumDeliveries
        let store = theatre.session(Self.name, faults: faults)
        let judgement = theatre.run(isOrdered: isOrdered) { theatre in
            try await body(theatre, store)
            store.clearFaults()
        }
        var missing = expectedNodes.filter { theatre.simulation.zookeeper.nodes[$0] == nil }.map {
            Violation(.noneLost, "an acknowledgement had no effect: \($0)")
        }
        let taken = theatre.history.events.filter { $0.kind == .delivered && $0.member == Self.name }.map(\.message)
        if let mustTake, !taken.contains(mustTake) {
            missing.append(Violation(.drainedInTime, "the consumer did not take \(mustTake)"))
        }
        let byMembers = judgement.byMembers + missing
        return (store.callCount, Judgement(byMembers: byMembers, byWitness: judgement.byWitness))
    }

    private static let three = ["a", "b", "c"]

    static let send = Episode(description: "send") { theatre, store in
        try await theatre.produce(three, by: name, store)
    }

    static let sendMany = Episode(description: "send many") { theatre, store in
        try await theatre.produce((10..<20).map { "m\($0)" }, by: name, store, together: true)
    }

    static let sendInFlight = Episode(description: "send several batches at once") { theatre, store in
        try await theatre.produceInFlight(three + ["d", "e"], by: name, store)
    }

    static let acknowledge = Episode(description: "claim and acknowledge") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.consume(by: name, store)
    }

    /// Each acknowledgement creates a node in the same step: all of them, and none twice, which would be refused.
    static let acknowledgeWithEffect = Episode(
        description: "acknowledge with an effect", expectedNodes: three.map { "/effects/\($0)" }
    ) { theatre, store in
        let producer = theatre.session("producer")
        _ = try await producer.create("/effects", data: [], mode: .persistent)
        try await theatre.produce(three, by: "producer", producer)
        try await theatre.consumeTogether(3, by: name, store)
    }

    // A consumer that could not leave the tree in time counts as another one, with which the order is shared.
    static let acknowledgeTogether = Episode(description: "acknowledge together", isOrdered: false) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.consumeTogether(3, by: name, store)
    }

    /// The same sequence goes on over whatever happens to its first calls, and takes what comes later.
    static let goingOn = Episode(description: "going on", mustTake: "late") { theatre, store in
        try await theatre.produce(["early"], by: "producer", theatre.session("producer"))
        async let consumed: Void = theatre.consume(by: name, store, idle: .seconds(200))
        async let recovered: Void = theatre.recover(theatre.session("recovery"), for: .seconds(200))
        try await theatre.clock.sleep(for: .seconds(90))
        try await theatre.produce(["late"], by: "producer", theatre.session("producer"))
        _ = try await (consumed, recovered)
    }

    static let requeue = Episode(description: "give back") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
    }

    static let giveBackTooOften = Episode(description: "give back too often", maximumDeliveries: 2) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.consume(by: name, store) { $0.payload == "b" ? .requeue : .acknowledge }
    }

    static let deadLetter = Episode(description: "dead-letter") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.consume(by: name, store) { $0.payload == "b" ? .deadLetter : .acknowledge }
    }

    static let recovery = Episode(description: "recovery and redelivery") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.crash(by: "failed", theatre.session("failed"), holding: 2)
        try? await theatre.subject.recover(store)
    }

    static let recoveryOfTheLiving = Episode(
        description: "recovery beside a living consumer", isOrdered: false
    ) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        async let consumed: Void = theatre.consume(by: "alive", theatre.session("alive"), idle: .seconds(1)) { _ in
            .hold(.seconds(8))
        }
        try await theatre.clock.sleep(for: .seconds(5))
        try? await theatre.subject.recover(store)
        try await theatre.consume(by: "other", theatre.session("other"))
        try await consumed
    }

    static let redeliveryToTheDead = Episode(
        description: "redelivery to the dead letters", maximumDeliveries: 2
    ) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.crash(by: "failed", theatre.session("failed"), holding: 2)
        try await theatre.subject.recover(theatre.session("recovery"))
        try await theatre.crash(by: "failed again", theatre.session("failed again"), holding: 1)
        try? await theatre.subject.recover(store)
    }

    static let registration = Episode(description: "registration") { theatre, store in
        try await theatre.consume(by: name, store, idle: .seconds(1))
    }

    // What is released late comes late.
    static let shutdown = Episode(description: "shutdown", isOrdered: false) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        var receiver = try theatre.receiver(store, prefetch: 3)
        _ = try? await receiver.next(within: .seconds(1))
        await receiver.close()
    }

    /// The process stops while it works on a message, until its session has expired and another has the message; then
    /// it goes on and acknowledges.
    static let slowHandler = Episode(description: "a handler slower than its session", isOrdered: false) {
        theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        async let consumed: Void = theatre.consume(by: name, store, prefetch: 1) { delivery in
            store.pause(for: .seconds(14))
            return .hold(.seconds(15))
        }
        try await theatre.clock.sleep(for: .seconds(12))
        try await theatre.subject.recover(theatre.session("recovery"))
        try await theatre.consume(by: "other", theatre.session("other"), prefetch: 1) { _ in .hold(.seconds(6)) }
        try await consumed
    }

    /// The process is killed while it holds messages.
    static let crash = Episode(description: "crash of a consumer") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.crash(by: name, store, holding: 2)
    }

    /// Messages of several kinds carry names of the old epoch: ready ones, those of a failed consumer, a dead letter.
    static let passage = Episode(description: "passage to a new epoch", sequenceRolloverThreshold: 4) {
        theatre, store in
        try await theatre.produce(["x"], by: "producer", theatre.session("producer"))
        try await theatre.consume(by: "other", theatre.session("other")) { _ in .deadLetter }
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        try await theatre.crash(by: "failed", theatre.session("failed"), holding: 2)
        try? await theatre.subject.recover(store)
        try await theatre.produce(["e", "f"], by: "producer", theatre.session("producer"), together: true)
    }

    // One that fails gives back late what comes before the others.
    static let sendOverPassages = Episode(
        description: "send over passages", isOrdered: false, sequenceRolloverThreshold: 1
    ) { theatre, store in
        async let recovered: Void = theatre.recover(theatre.session("recovery"), for: .seconds(60))
        try await theatre.produce(three + ["d", "e"], by: name, store)
        try await recovered
    }

    static let takeOverPassages = Episode(
        description: "take over passages", isOrdered: false, sequenceRolloverThreshold: 1
    ) { theatre, store in
        async let recovered: Void = theatre.recover(theatre.session("recovery"), for: .seconds(60))
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.consume(by: name, store) { $0.deliveryCount == 1 ? .requeue : .acknowledge }
        try await theatre.produce(["d", "e"], by: "producer", theatre.session("producer"), together: true)
        try await theatre.consume(by: name, store)
        try await recovered
    }

    // The consumer shares the order with what the judge takes in the end.
    static let sendToAFullQueue = Episode(
        description: "send to a full queue", isOrdered: false, capacity: .init(messages: 2)
    ) { theatre, store in
        async let produced: Void = theatre.produce(three + ["d", "e"], by: name, store)
        // Long enough for the queue to be full.
        try await theatre.clock.sleep(for: .seconds(2))
        async let recovered: Void = theatre.recover(theatre.session("recovery"), for: .seconds(100))
        try await theatre.consume(by: "other", theatre.session("other"), prefetch: 1, idle: .seconds(60))
        _ = try await (produced, recovered)
    }

    /// Somebody else sends the same messages again.
    static let sendWithIDs = Episode(description: "send with ids", sendsIDs: true) { theatre, store in
        try await theatre.produceInFlight(three, by: name, store)
        try await theatre.produce(three + ["d"], by: "again", theatre.session("again"), together: true)
    }

    static let sendAgain = Episode(description: "send again", sendsIDs: true) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"), together: true)
        // A recovery that has seen the bucket for long enough begins another: the ids are in the former one then.
        let recovery = theatre.session("recovery")
        try await theatre.subject.recover(recovery)
        try await theatre.clock.sleep(for: .seconds(70))
        try await theatre.subject.recover(recovery)
        try await theatre.produce(["b", "d", "a", "c", "e"], by: name, store, together: true)
    }

    /// The first bucket is removed; what was sent in between is remembered.
    static let forgetIDs = Episode(description: "forget ids", sendsIDs: true) { theatre, store in
        let producer = theatre.session("producer")
        try await theatre.produce(three, by: "producer", producer, together: true)
        try? await theatre.subject.recover(store)
        try await theatre.clock.sleep(for: .seconds(70))
        for _ in 0..<2 { try? await theatre.subject.recover(store) }
        try await theatre.produce(["d", "e"], by: "producer", producer, together: true)
        try await theatre.clock.sleep(for: .seconds(70))
        for _ in 0..<2 { try? await theatre.subject.recover(store) }
        try await theatre.produce(["e", "d"], by: "again", theatre.session("again"))
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
