import Foundation
import Glibc
import QueueHistory

/// The worker processes of a run. The pool replaces a process that it kills.
actor WorkerPool {
    struct WorkerProcess {
        let role: Worker.Role
        /// The index among the workers of the role. The first worker of each role is never killed.
        let index: Int
        let generation: Int
        let process: Process
        let lifeline: Pipe

        var name: String { "\(role.rawValue)\(index).\(generation)" }
        var pid: pid_t { process.processIdentifier }
    }

    private let servers: String
    private let folder: String
    private let sessionTimeout: Duration
    private let options: [Worker.Role: [String]]
    nonisolated let preload: String?
    private(set) var workers: [WorkerProcess] = []
    private(set) var histories: [String] = []

    /// - Parameters:
    ///   - options: additional arguments for the workers of each role.
    ///   - preload: a library that can move the clock, preloaded into the workers with an odd index.
    init(
        servers: String, folder: String, sessionTimeout: Duration, options: [Worker.Role: [String]], preload: String?
    ) {
        self.servers = servers
        self.folder = folder
        self.sessionTimeout = sessionTimeout
        self.options = options
        self.preload = preload
    }

    func start(_ role: Worker.Role, _ index: Int, generation: Int = 0) throws {
        let (process, lifeline) = (Process(), Pipe())
        let name = "\(role.rawValue)\(index).\(generation)"
        let history = "\(folder)/\(name).history"
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments =
            [
                "worker", "--role", role.rawValue, "--name", name, "--servers", servers, "--history", history,
                "--session-timeout", "\(Int(sessionTimeout / .milliseconds(1)))",
            ] + (options[role] ?? [])
        process.standardInput = lifeline
        if let preload, index % 2 == 1 {
            process.environment = ProcessInfo.processInfo.environment.merging(["LD_PRELOAD": preload]) { $1 }
        }
        try process.run()
        histories.append(history)
        workers.append(
            WorkerProcess(role: role, index: index, generation: generation, process: process, lifeline: lifeline))
    }

    /// Kills a worker with SIGKILL, and starts another one with the same index.
    func replace(_ worker: WorkerProcess) throws {
        kill(worker.pid, SIGKILL)
        kill(worker.pid, SIGCONT)
        worker.process.waitUntilExit()
        workers.removeAll { $0.name == worker.name }
        try start(worker.role, worker.index, generation: worker.generation + 1)
    }

    nonisolated func stop(_ worker: WorkerProcess) { kill(worker.pid, SIGSTOP) }
    nonisolated func resume(_ worker: WorkerProcess) { kill(worker.pid, SIGCONT) }
    nonisolated func moveClock(of worker: WorkerProcess) { kill(worker.pid, SIGUSR2) }

    /// Whether every worker of the role has exited.
    func haveExited(_ role: Worker.Role) -> Bool { workers.allSatisfy { $0.role != role || !$0.process.isRunning } }

    /// Returns the consumers and recoveries that have exited although the pool did not stop them.
    func exitedUnexpectedly() -> [WorkerProcess] { workers.filter { $0.role != .producer && !$0.process.isRunning } }

    /// Ends all workers with SIGTERM.
    ///
    /// - Returns: a violation for each worker that does not exit within a minute, or exits with an error.
    func terminateAll() async -> [Violation] {
        for worker in workers where worker.process.isRunning {
            kill(worker.pid, SIGCONT)
            kill(worker.pid, SIGTERM)
        }
        let end = ContinuousClock.now + .seconds(60)
        // Polls, because one loop waits for all processes with a common limit.
        while ContinuousClock.now < end, workers.contains(where: \.process.isRunning) {
            try? await Task.sleep(for: .milliseconds(20))
        }
        return workers.compactMap { worker in
            if worker.process.isRunning {
                kill(worker.pid, SIGKILL)
                return Violation(.drainedInTime, "\(worker.name) did not exit within a minute")
            }
            let hasSucceeded = worker.process.terminationReason == .exit && worker.process.terminationStatus == 0
            return hasSucceeded ? nil : Violation(.drainedInTime, "\(worker.name) exited with an error")
        }
    }

    /// Returns the resident memory of the workers that are never killed, in kilobytes.
    func memory() -> [String: Int] {
        var memory: [String: Int] = [:]
        for worker in workers where worker.index == 0 && worker.generation == 0 {
            let status = (try? String(contentsOfFile: "/proc/\(worker.pid)/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            let words = line?.split(whereSeparator: \.isWhitespace) ?? []
            if words.count > 1, let kilobytes = Int(words[1]) { memory[worker.name] = kilobytes }
        }
        return memory
    }
}
