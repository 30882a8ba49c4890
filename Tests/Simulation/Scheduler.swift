import Glibc
import Synchronization

/// Runs tasks on one thread, one after the other, in an order that a seed decides, so that a run can be repeated.
///
/// Every job that a task of the simulation leaves behind (its next part, an actor's turn) waits here until it is chosen,
/// instead of going to the runtime's own pool. This uses the runtime's hook for that (`swift_task_enqueueGlobal_hook`,
/// "include/swift/Runtime/Concurrency.h" in Swift's source). Jobs of other threads go their usual way, so other tests,
/// and other simulations, can run at the same time.
final class Scheduler {
    private var jobs: [UnownedJob] = []
    private var choose: (Int) -> Int
    private(set) var jobsRun = 0

    /// - Parameter choose: which of so many jobs runs next.
    init(choose: @escaping (Int) -> Int) {
        self.choose = choose
        Hook.install()
    }

    /// Runs jobs until `isDone`, and calls `idle` whenever there is none.
    ///
    /// - Parameter idle: makes something happen; returns false when nothing can happen any more.
    /// - Returns: whether it was done.
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

/// Stands for the pool while a job runs. Nothing is ever enqueued on it, since no task prefers it.
private final class Pool: TaskExecutor {
    static let shared = Pool()
    func enqueue(_ job: consuming ExecutorJob) { Hook.enqueue(UnownedJob(job)) }
}

private enum Hook {
    private typealias Original = @convention(thin) (UnownedJob) -> Void
    private typealias Function = @convention(thin) (UnownedJob, Original) -> Void

    /// The scheduler of the present thread.
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

    static func install() { precondition(isInstalled, "The runtime has no hook for its global executor.") }

    private static var scheduler: Scheduler? {
        pthread_getspecific(current).map { Unmanaged<Scheduler>.fromOpaque($0).takeUnretainedValue() }
    }

    static func enter(_ scheduler: Scheduler) {
        pthread_setspecific(current, Unmanaged.passUnretained(scheduler).toOpaque())
    }

    static func leave() { pthread_setspecific(current, nil) }

    static func enqueue(_ job: UnownedJob) { scheduler?.add(job) }
}
