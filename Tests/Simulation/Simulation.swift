import QueueHistory
import Synchronization
import ZooKeeperQueue
package import ZooKeeperTestKit

/// Runs a program of tasks in virtual time, on one thread, in an order that a seed decides.
package struct Simulation {
    /// Decides the order of tasks, and the time that packets take.
    package enum Order: Sendable {
        /// First come, first served; packets take no time.
        case fixed
        /// Any order; packets of different sessions overtake each other.
        case seeded(UInt64)
    }

    /// The program has not ended: nothing can happen any more, or something goes round and round.
    package struct Stuck: Error {}

    /// No program takes longer.
    private let longest: Duration
    private let mostJobs: Int

    /// The simulation's time.
    package let clock = VirtualClock()
    /// The ZooKeeper of the simulation.
    package let zookeeper: InMemoryZooKeeper
    private let random: SharedGenerator?

    /// - Parameters:
    ///   - longest: a program that takes more of virtual time is stuck.
    ///   - mostJobs: a program that takes more steps goes round and round.
    package init(
        _ order: Order, longest: Duration = .seconds(7_200), mostJobs: Int = 3_000_000,
        observer: (@Sendable (Transaction) -> Void)? = nil
    ) {
        self.longest = longest
        self.mostJobs = mostJobs
        switch order {
        case .fixed:
            random = nil
            zookeeper = InMemoryZooKeeper(clock: clock, latency: nil, observer: observer)
        case .seeded(let seed):
            let random = SharedGenerator(seed: seed)
            self.random = random
            zookeeper = InMemoryZooKeeper(
                clock: clock, latency: { .microseconds(random.next(below: 5_000)) }, observer: observer)
        }
    }

    /// Runs the program to its end, and then what it has left behind for up to an hour of virtual time.
    ///
    /// - Throws: what `body` throws; ``Stuck``.
    package func run<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) throws -> Result {
        let (random, clock, longest, mostJobs) = (random, clock, longest, mostJobs)
        // The order of a node's children follows from their names.
        let names = random ?? SharedGenerator(seed: 0)
        let scheduler = Scheduler { count in random.map { $0.next(below: count) } ?? 0 }
        let outcome = Outcome<Result>()
        var task: Task<Void, Never>?
        let isDone = scheduler.run {
            outcome.value != nil || scheduler.jobsRun > mostJobs
        } idle: {
            guard task != nil else {
                // Begun here, so that its first job is the scheduler's too.
                task = Task {
                    do {
                        outcome.value = .success(
                            try await RandomName.$bits.withValue({ names.bits() }) { try await body() })
                    } catch {
                        outcome.value = .failure(error)
                    }
                }
                return true
            }
            return clock.runNext(until: longest)
        }
        guard isDone, let result = outcome.value else { throw Stuck() }
        let end = clock.now.offset + .seconds(3_600)
        _ = scheduler.run {
            scheduler.jobsRun > mostJobs
        } idle: {
            clock.runNext(until: end)
        }
        return try result.get()
    }
}

private final class Outcome<Value: Sendable>: Sendable {
    private let storage = Mutex<Result<Value, any Error>?>(nil)
    var value: Result<Value, any Error>? {
        get { storage.withLock { $0 } }
        set { storage.withLock { $0 = newValue } }
    }
}

private final class SharedGenerator: Sendable {
    private let generator: Mutex<SeededGenerator>
    init(seed: UInt64) { generator = Mutex(SeededGenerator(seed: seed)) }
    func bits() -> UInt64 { generator.withLock { $0.next() } }
    func next(below bound: Int) -> Int { generator.withLock { Int.random(in: 0..<max(1, bound), using: &$0) } }
}
