import QueueHistory
import Simulation
import ZooKeeperQueue
import ZooKeeperTestKit

/// One protocol of the queue, played by one process that faults happen to.
struct Episode: Sendable, CustomStringConvertible {
    let description: String
    /// Whether first deliveries must come in the order of sending.
    var isOrdered = true
    var maximumDeliveries = 10
    let body: @Sendable (Theatre, InMemorySession) async throws -> Void

    /// The process's name.
    private static let name = "subject"

    /// Plays it once.
    ///
    /// - Returns: how many calls the process made, and the promises that were not kept.
    func play(_ subject: any Subject, faults: FaultPlan? = nil) -> (calls: Int, violations: [Violation]) {
        let theatre = Theatre(subject)
        let store = theatre.session(Self.name, faults: faults)
        let violations = theatre.run(isOrdered: isOrdered) { theatre in
            try await body(theatre, store)
            store.heal()
        }
        return (store.callCount, violations)
    }

    private static let three = ["a", "b", "c"]

    static let send = Episode(description: "send") { theatre, store in
        try await theatre.produce(three, by: name, store)
    }

    static let sendMany = Episode(description: "send many") { theatre, store in
        try await theatre.produce((10..<20).map { "m\($0)" }, by: name, store, together: true)
    }

    static let acknowledge = Episode(description: "claim and acknowledge") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.consume(by: name, store)
    }

    static let giveBack = Episode(description: "give back") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.consume(by: name, store) { $0.deliveryCount == 1 ? .giveBack : .acknowledge }
    }

    static let giveBackTooOften = Episode(description: "give back too often", maximumDeliveries: 2) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.consume(by: name, store) { $0.payload == "b" ? .giveBack : .acknowledge }
    }

    static let deadLetter = Episode(description: "dead-letter") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.consume(by: name, store) { $0.payload == "b" ? .deadLetter : .acknowledge }
    }

    static let recovery = Episode(description: "recovery and redelivery") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.crash(by: "failed", theatre.session("failed"), holding: 2)
        try? await theatre.subject.recover(store)
    }

    static let recoveryOfTheLiving = Episode(description: "recovery beside a living consumer") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        async let consumed: Void = theatre.consume(by: "alive", theatre.session("alive"), idle: .seconds(1)) { _ in
            .hold(.seconds(8))
        }
        try await theatre.simulation.clock.sleep(for: .seconds(7))
        try? await theatre.subject.recover(store)
        try await consumed
    }

    static let redeliveryToTheDead = Episode(
        description: "redelivery to the dead letters", maximumDeliveries: 2
    ) { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.crash(by: "failed", theatre.session("failed"), holding: 2)
        try await theatre.subject.recover(theatre.session("recovery"))
        try await theatre.crash(by: "failed again", theatre.session("failed again"), holding: 1)
        try? await theatre.subject.recover(store)
    }

    static let registration = Episode(description: "registration") { theatre, store in
        try await theatre.consume(by: name, store, idle: .seconds(1))
    }

    static let shutdown = Episode(description: "shutdown") { theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        var receiver = try theatre.receiver(store, prefetch: 3)
        _ = try? await receiver.next(within: .seconds(1))
        await receiver.close()
    }

    /// The process stops while it works on a message, until its session has expired and another has the message; then
    /// it goes on and acknowledges.
    static let slowHandler = Episode(description: "a handler slower than its session", isOrdered: false) {
        theatre, store in
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
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
        try await theatre.produce(three, by: "producer", theatre.session("producer"))
        try await theatre.crash(by: name, store, holding: 2)
    }

    static let all = [
        send, sendMany, acknowledge, giveBack, giveBackTooOften, deadLetter, recovery, recoveryOfTheLiving,
        redeliveryToTheDead, registration, shutdown, slowHandler, crash,
    ]
}
