import ZooKeeper
import QueueHistory
import Synchronization
import ZooKeeperQueue
package import ZooKeeperTestKit

/// Runs a program of tasks in virtual time, on one thread, in an order that a seed decides.
package struct Simulation {
    /// Decides the order of tasks, and the latency of packets.
    package enum Order: Sendable {
        /// Jobs run in the order in which they were enqueued, and packets have no latency.
        case fixed
        /// Jobs run in a random order, and packets of different sessions overtake each other.
        case seeded(UInt64)
    }

    /// The program did not end: it waits forever, or it loops.
    package struct Stuck: Error {}

    private let timeLimit: Duration
    private let jobLimit: Int

    /// The simulation's time.
    package let clock = VirtualClock()
    /// The ZooKeeper of the simulation.
    package let zookeeper: InMemoryZooKeeper
    private let random: SharedGenerator?

    /// - Parameters:
    ///   - timeLimit: the virtual time after which a program counts as stuck.
    ///   - jobLimit: the number of jobs after which a program counts as stuck.
    package init(
        _ order: Order, timeLimit: Duration = .seconds(7_200), jobLimit: Int = 3_000_000,
        observer: (@Sendable (Transaction) -> Void)? = nil
    ) {
        self.timeLimit = timeLimit
        self.jobLimit = jobLimit
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

    /// Runs the program to its end, and then the tasks that are left, for up to an hour of virtual time.
    ///
    /// - Throws: the error of `body`, or ``Stuck``.
    package func run<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) throws -> Result {
        let (random, clock, timeLimit, jobLimit) = (random, clock, timeLimit, jobLimit)
        // Random names must come from the seed too, because the order of a node's children follows from their names.
        let names = random ?? SharedGenerator(seed: 0)
        let scheduler = Scheduler { count in random.map { $0.next(below: count) } ?? 0 }
        let outcome = Outcome<Result>()
        var task: Task<Void, Never>?
        let isDone = scheduler.run {
            outcome.value != nil || scheduler.jobsRun > jobLimit
        } idle: {
            guard task != nil else {
                // The task starts here, because its first job must go to the scheduler too.
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
            return clock.runNext(until: timeLimit)
        }
        guard isDone, let result = outcome.value else { throw Stuck() }
        let end = clock.now.offset + .seconds(3_600)
        _ = scheduler.run {
            scheduler.jobsRun > jobLimit
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
