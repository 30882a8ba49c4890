import QueueHistory
import Simulation
import Synchronization
import ZooKeeperQueue
import ZooKeeperTestKit

/// A run that a seed decides: the order of all tasks, the way of each packet, what members do, and what happens to them.
struct Schedule: Sendable {
    let seed: UInt64
    private static let producers = 2
    private static let consumers = 2
    private static let time = Duration.seconds(60)

    /// - Returns: the promises that were not kept.
    func play(_ subject: any Subject) -> (theatre: Theatre, violations: [Violation]) {
        let theatre = Theatre(subject, .seeded(seed))
        let dice = Dice(seed: seed &+ 1)
        // From none at all to one call in ten.
        let chance = [0, 10, 30, 100][dice.roll(4)]
        let faults: FaultPlan = { _ in
            dice.roll(1_000) < chance ? Fault.allCases[dice.roll(Fault.allCases.count)] : nil
        }
        let judgement = theatre.run { theatre in
            let messages = [["a0", "a1"], ["b0"]]
            var sessions: [InMemorySession] = []
            func session(_ name: String) -> InMemorySession {
                let session = theatre.session(name, faults: faults)
                sessions.append(session)
                return session
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<Self.producers {
                    let (store, together) = (session("producer\(number)"), dice.roll(2) == 0)
                    group.addTask {
                        try await theatre.clock.sleep(for: .milliseconds(dice.roll(2_000)))
                        try await theatre.produce(
                            messages[number], by: "producer\(number)", store, together: together)
                    }
                }
                for number in 0..<Self.consumers {
                    let (store, prefetch) = (session("consumer\(number)"), 1 + dice.roll(3))
                    group.addTask {
                        try await theatre.clock.sleep(for: .milliseconds(dice.roll(2_000)))
                        try await theatre.consume(
                            by: "consumer\(number)", store, prefetch: prefetch, idle: .seconds(5 + dice.roll(20))
                        ) { _ in
                            switch dice.roll(100) {
                            case 0..<10: .requeue
                            case 10..<13: .deadLetter
                            case 13..<23: .hold(.seconds(dice.roll(25)))
                            case 23..<26: .abandon
                            default: .acknowledge
                            }
                        }
                    }
                }
                for number in 0...dice.roll(2) {
                    let store = session("recovery\(number)")
                    group.addTask { try await theatre.recover(store, for: Self.time) }
                }
                let targets = sessions
                group.addTask { try await Self.disturb(targets, theatre, dice) }
                try await group.waitForAll()
            }
        }
        return (theatre, judgement.violations)
    }

    /// Things that happen to whole processes.
    private static func disturb(_ sessions: [InMemorySession], _ theatre: Theatre, _ dice: Dice) async throws {
        for _ in 0..<dice.roll(4) {
            try await theatre.clock.sleep(for: .milliseconds(dice.roll(10_000)))
            let session = sessions[dice.roll(sessions.count)]
            switch dice.roll(4) {
            case 0: session.crash()
            case 1: session.pause(for: .seconds(1 + dice.roll(20)))
            case 2: session.disconnect(for: .seconds(1 + dice.roll(20)))
            default: session.expire()
            }
        }
    }
}
