import QueueHistory
import Simulation
import Synchronization
import ZooKeeperQueue
import ZooKeeperTestKit

/// A run that a seed decides: the order of all tasks, the latency of each packet, the actions of the processes, and the
/// faults.
struct Schedule: Sendable {
    let seed: UInt64
    private static let producers = 2
    private static let consumers = 2
    private static let time = Duration.seconds(60)

    /// Runs the schedule.
    ///
    /// - Returns: the harness, and the promises that were broken.
    func run(_ queue: any QueueUnderTest) -> (harness: FaultHarness, violations: [Violation]) {
        let harness = FaultHarness(queue, .seeded(seed))
        let random = SeededRandom(seed: seed &+ 1)
        // In thousandths of all calls.
        let chance = [0, 10, 30, 100][random.roll(4)]
        let faults: FaultPlan = { _ in
            random.roll(1_000) < chance ? Fault.allCases[random.roll(Fault.allCases.count)] : nil
        }
        let result = harness.run { harness in
            let messages = [["a0", "a1"], ["b0"]]
            var sessions: [InMemorySession] = []
            func session(_ name: String) -> InMemorySession {
                let session = harness.session(name, faults: faults)
                sessions.append(session)
                return session
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<Self.producers {
                    let (store, together) = (session("producer\(number)"), random.roll(2) == 0)
                    group.addTask {
                        try await harness.clock.sleep(for: .milliseconds(random.roll(2_000)))
                        try await harness.produce(
                            messages[number], by: "producer\(number)", store, together: together)
                    }
                }
                for number in 0..<Self.consumers {
                    let (store, prefetch) = (session("consumer\(number)"), 1 + random.roll(3))
                    group.addTask {
                        try await harness.clock.sleep(for: .milliseconds(random.roll(2_000)))
                        try await harness.consume(
                            by: "consumer\(number)", store, prefetch: prefetch, idle: .seconds(5 + random.roll(20))
                        ) { _ in
                            switch random.roll(100) {
                            case 0..<10: .requeue
                            case 10..<13: .deadLetter
                            case 13..<23: .hold(.seconds(random.roll(25)))
                            case 23..<26: .abandon
                            default: .acknowledge
                            }
                        }
                    }
                }
                for number in 0...random.roll(2) {
                    let store = session("recovery\(number)")
                    group.addTask { try await harness.recover(store, for: Self.time) }
                }
                let targets = sessions
                group.addTask { try await Self.injectProcessFaults(targets, harness, random) }
                try await group.waitForAll()
            }
        }
        return (harness, result.violations)
    }

    /// Kills, stops and disconnects processes, and expires their sessions.
    private static func injectProcessFaults(
        _ sessions: [InMemorySession], _ harness: FaultHarness, _ random: SeededRandom
    ) async throws {
        for _ in 0..<random.roll(4) {
            try await harness.clock.sleep(for: .milliseconds(random.roll(10_000)))
            let session = sessions[random.roll(sessions.count)]
            switch random.roll(4) {
            case 0: session.crash()
            case 1: session.pause(for: .seconds(1 + random.roll(20)))
            case 2: session.disconnect(for: .seconds(1 + random.roll(20)))
            default: session.expire()
            }
        }
    }
}
