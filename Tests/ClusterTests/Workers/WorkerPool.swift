import Foundation
import Glibc
import QueueHistory

/// The processes of a run. One that is killed is followed by another.
actor WorkerPool {
    struct Member {
        let role: Worker.Role
        /// Which of its role, from 0; the first of each is never killed.
        let place: Int
        let generation: Int
        let process: Process
        let lifeline: Pipe

        var name: String { "\(role.rawValue)\(place).\(generation)" }
        var pid: pid_t { process.processIdentifier }
    }

    private let servers: String
    private let folder: String
    private let sessionTimeout: Duration
    private let options: [Worker.Role: [String]]
    nonisolated let preload: String?
    private(set) var members: [Member] = []
    private(set) var histories: [String] = []

    /// - Parameters:
    ///   - options: further arguments of each role's workers.
    ///   - preload: a library for every second consumer and producer, with which their clock can be moved.
    init(
        servers: String, folder: String, sessionTimeout: Duration, options: [Worker.Role: [String]], preload: String?
    ) {
        self.servers = servers
        self.folder = folder
        self.sessionTimeout = sessionTimeout
        self.options = options
        self.preload = preload
    }

    func start(_ role: Worker.Role, _ place: Int, generation: Int = 0) throws {
        let (process, lifeline) = (Process(), Pipe())
        let name = "\(role.rawValue)\(place).\(generation)"
        let history = "\(folder)/\(name).history"
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments =
            [
                "worker", "--role", role.rawValue, "--name", name, "--servers", servers, "--history", history,
                "--session-timeout", "\(Int(sessionTimeout / .milliseconds(1)))",
            ] + (options[role] ?? [])
        process.standardInput = lifeline
        if let preload, place % 2 == 1 {
            process.environment = ProcessInfo.processInfo.environment.merging(["LD_PRELOAD": preload]) { $1 }
        }
        try process.run()
        histories.append(history)
        members.append(
            Member(role: role, place: place, generation: generation, process: process, lifeline: lifeline))
    }

    /// Kills one with SIGKILL, and starts another in its place.
    func replace(_ member: Member) throws {
        kill(member.pid, SIGKILL)
        kill(member.pid, SIGCONT)
        member.process.waitUntilExit()
        members.removeAll { $0.name == member.name }
        try start(member.role, member.place, generation: member.generation + 1)
    }

    nonisolated func stop(_ member: Member) { kill(member.pid, SIGSTOP) }
    nonisolated func resume(_ member: Member) { kill(member.pid, SIGCONT) }
    nonisolated func moveClock(of member: Member) { kill(member.pid, SIGUSR2) }

    /// Whether every member of the role has ended by itself.
    func haveEnded(_ role: Worker.Role) -> Bool { members.allSatisfy { $0.role != role || !$0.process.isRunning } }

    /// Those that have ended though nobody asked them to.
    func fallen() -> [Member] { members.filter { $0.role != .producer && !$0.process.isRunning } }

    /// Ends all in good order.
    ///
    /// - Returns: those that did not end so.
    func dismiss() async -> [Violation] {
        for member in members where member.process.isRunning {
            kill(member.pid, SIGCONT)
            kill(member.pid, SIGTERM)
        }
        let end = ContinuousClock.now + .seconds(60)
        // Other processes' ends can only be looked for.
        while ContinuousClock.now < end, members.contains(where: \.process.isRunning) {
            try? await Task.sleep(for: .milliseconds(20))
        }
        return members.compactMap { member in
            if member.process.isRunning {
                kill(member.pid, SIGKILL)
                return Violation(.drainedInTime, "\(member.name) did not end within a minute")
            }
            let isGood = member.process.terminationReason == .exit && member.process.terminationStatus == 0
            return isGood ? nil : Violation(.drainedInTime, "\(member.name) ended with an error")
        }
    }

    /// The resident memory of the members that are never killed, in kilobytes.
    func memory() -> [String: Int] {
        var memory: [String: Int] = [:]
        for member in members where member.place == 0 && member.generation == 0 {
            let status = (try? String(contentsOfFile: "/proc/\(member.pid)/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            let words = line?.split(whereSeparator: \.isWhitespace) ?? []
            if words.count > 1, let kilobytes = Int(words[1]) { memory[member.name] = kilobytes }
        }
        return memory
    }
}
