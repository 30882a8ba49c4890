import Glibc
import Synchronization

/// Runs tasks on one thread, one job at a time, in an order that a seed decides. A run can therefore be repeated.
///
/// Every job that a task of the simulation enqueues (its next part, or an actor's turn) waits here until it is chosen,
/// instead of going to the runtime's pool. This uses the runtime's hook for that (`swift_task_enqueueGlobal_hook`,
/// "include/swift/Runtime/Concurrency.h" in Swift's source). Jobs of other threads go to the pool as usual, so other
/// tests, and other simulations, can run at the same time.
final class Scheduler {
    private var jobs: [UnownedJob] = []
    private var choose: (Int) -> Int
    private(set) var jobsRun = 0

    /// - Parameter choose: returns the index of the next job, for a given number of jobs.
    init(choose: @escaping (Int) -> Int) {
        self.choose = choose
        Hook.install()
    }

    /// Runs jobs until `isDone` returns true, and calls `idle` whenever there is no job.
    ///
    /// - Parameter idle: triggers the next event; returns false when there is none.
    /// - Returns: the last value of `isDone`.
    func run(until isDone: () -> Bool, idle: () -> Bool) -> Bool {
        Hook.enter(self)
        defer { Hook.leave() }
        while !isDone() {
            if jobs.isEmpty {
                if !idle() { return isDone() }
                continue
            }
            let index = choose(jobs.count)
            let job = jobs.remove(at: index)
            jobsRun += 1
            job.runSynchronously(on: Pool.shared.asUnownedTaskExecutor())
        }
        return true
    }

    fileprivate func add(_ job: UnownedJob) { jobs.append(job) }
}

/// Stands for the pool while a job runs. The runtime enqueues nothing on it, because no task prefers it.
private final class Pool: TaskExecutor {
    static let shared = Pool()
    func enqueue(_ job: consuming ExecutorJob) { Hook.enqueue(UnownedJob(job)) }
}

private enum Hook {
    private typealias Original = @convention(thin) (UnownedJob) -> Void
    private typealias Function = @convention(thin) (UnownedJob, Original) -> Void

    /// The scheduler of the current thread.
    private static let current: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key, nil)
        return key
    }()

    private static let isInstalled: Bool = {
        guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: 0), "swift_task_enqueueGlobal_hook") else {
            return false
        }
        symbol.assumingMemoryBound(to: Function?.self).pointee = { job, original in
            if let scheduler = Hook.scheduler { scheduler.add(job) } else { original(job) }
        }
        return true
    }()

    static func install() { precondition(isInstalled, "The Swift runtime has no hook for its global executor.") }

    private static var scheduler: Scheduler? {
        pthread_getspecific(current).map { Unmanaged<Scheduler>.fromOpaque($0).takeUnretainedValue() }
    }

    static func enter(_ scheduler: Scheduler) {
        pthread_setspecific(current, Unmanaged.passUnretained(scheduler).toOpaque())
    }

    static func leave() { pthread_setspecific(current, nil) }

    static func enqueue(_ job: UnownedJob) { scheduler?.add(job) }
}
