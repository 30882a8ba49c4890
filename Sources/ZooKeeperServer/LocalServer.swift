import Glibc
import Subprocess
import SystemPackage

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// One server process.
actor LocalServer {
    private let id: Int
    private let port: Int
    private let directory: String
    private let deletesDirectory: Bool
    private let installation: Installation
    private let configuration: LocalEnsembleConfiguration
    /// The process, while it runs.
    private var process: Running?

    private struct Running {
        let pid: pid_t
        /// The end of a pipe that the process's guard reads. When it closes, the guard kills the server.
        let lifeline: FileDescriptor
        /// Ends when the process has ended and was reaped.
        let task: Task<Void, Never>
    }

    init(
        _ member: LocalMember, of members: [LocalMember], configuration: LocalEnsembleConfiguration,
        directory: LocalDirectory, installation: Installation, certificates: LocalCertificates?
    ) throws {
        self.id = member.id
        self.port = member.port
        self.directory = directory.path + "/server-\(id)"
        self.deletesDirectory = directory.isTemporary
        self.installation = installation
        self.configuration = configuration
        try FileManager.default.createDirectory(atPath: self.directory + "/data", withIntermediateDirectories: true)
        var lines = [
            "tickTime": "\(max(1, Int(configuration.tickTime / .milliseconds(1))))",
            "initLimit": "20", "syncLimit": "10", "maxClientCnxns": "0", "admin.enableServer": "false",
            "4lw.commands.whitelist": "*", "dataDir": self.directory + "/data",
        ]
        if configuration.isReconfigurable {
            (lines["reconfigEnabled"], lines["standaloneEnabled"]) = ("true", "false")
        } else {
            (lines["clientPort"], lines["clientPortAddress"]) = ("\(port)", "127.0.0.1")
        }
        if members.count > 1 || configuration.isReconfigurable {
            for var peer in members {
                if peer.id != id, let port = try configuration.peerPort?(id - 1, peer.id - 1, peer.quorum) {
                    peer.quorum = port
                }
                lines["server.\(peer.id)"] = configuration.isReconfigurable ? peer.address : peer.plainAddress
            }
            try Data("\(id)\n".utf8).write(to: URL(filePath: self.directory + "/data/myid"))
        }
        if let port = member.securePort, let certificates {
            lines.merge(certificates.settings(port: port)) { $1 }
            if configuration.sharedCertificates != nil {
                lines.merge(["client.portUnification": "true", "ssl.clientAuth": "none"]) { $1 }
            }
        }
        lines.merge(configuration.settings) { $1 }
        let text = lines.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined()
        try Data(text.utf8).write(to: URL(filePath: self.directory + "/zoo.cfg"))
    }

    /// The shell starts the guard in the background and becomes the server. The guard reads the lifeline.
    /// When the lifeline closes without a word, this process has died: the guard kills the server, and
    /// deletes the folder if it was given one.
    private static let guardScript = """
        exec 3<&0 </dev/null
        (if ! read -r word <&3; then
            kill -9 $$ 2>/dev/null
            while [ -n "$1" ] && ! rm -rf -- "$1" 2>/dev/null; do sleep 0.1; done
            [ -n "$1" ] && rmdir -- "$(dirname -- "$1")" 2>/dev/null
        fi) &
        shift
        exec 3<&-
        exec "$@"
        """

    func start() async throws {
        guard process == nil else { return }
        // Another child process that inherited this lifeline would keep the guard waiting.
        let (reading, lifeline) = try FileDescriptor.pipe()
        for end in [reading, lifeline] { _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) }
        let log = try FileDescriptor.open(
            FilePath(logPath), .writeOnly, options: [.create, .append, .closeOnExec], permissions: [.ownerReadWrite])
        var options = PlatformOptions()
        // A separate session, because an interrupt from the terminal is for this process, which
        // stops the server in an orderly way.
        options.createSession = true
        var properties = ["org.slf4j.simpleLogger.defaultLogLevel": "warn"]
        // Otherwise only an administrator with credentials may reconfigure the ensemble.
        if configuration.isReconfigurable { properties["zookeeper.skipACL"] = "yes" }
        properties.merge(configuration.systemProperties) { $1 }
        let command =
            [installation.java, "-Xmx\(configuration.heapMegabytes)m"]
            + properties.sorted { $0.key < $1.key }.map { "-D\($0.key)=\($0.value)" }
            + [
                "-cp",
                ([installation.classPath] + (configuration.usesTLS ? LocalCertificates.jars : []))
                    .joined(separator: ":"), "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                directory + "/zoo.cfg",
            ]
        let guarded = ["-c", Self.guardScript, "zookeeper-server", deletesDirectory ? directory : ""] + command
        let (started, report) = AsyncStream.makeStream(of: Result<pid_t, any Error>.self)
        // Not a child task, because the server outlives this call. `kill()` waits for the task.
        let task = Task { [options] in
            do {
                _ = try await run(
                    .path("/bin/sh"), arguments: Arguments(guarded), platformOptions: options,
                    input: .fileDescriptor(reading, closeAfterSpawningProcess: true),
                    output: .fileDescriptor(log, closeAfterSpawningProcess: false),
                    error: .fileDescriptor(log, closeAfterSpawningProcess: false)
                ) { execution in
                    report.yield(.success(execution.processIdentifier.value))
                }
            } catch {
                report.yield(.failure(error))
            }
            try? log.close()
            report.finish()
        }
        guard let result = await started.first(where: { _ in true }) else { return }
        do {
            process = Running(pid: try result.get(), lifeline: lifeline, task: task)
        } catch {
            try? lifeline.close()
            throw LocalServerError(description: "Server \(id) could not be started: \(error).")
        }
    }

    func kill() async {
        guard let process else { return }
        self.process = nil
        _ = Glibc.kill(process.pid, SIGKILL)
        await process.task.value
        // A word makes the guard end without deleting anything.
        _ = try? process.lifeline.writeAll("stopped\n".utf8)
        try? process.lifeline.close()
    }

    func pause() async {
        guard let process, Glibc.kill(process.pid, SIGSTOP) == 0 else { return }
        // The signal takes effect a little later, one thread after the other, and the state of
        // another process can only be polled.
        while !Self.hasStopped(process.pid), Glibc.kill(process.pid, 0) == 0 {
            try? await Task.sleep(for: .milliseconds(2))
        }
    }

    func resume() {
        if let process { _ = Glibc.kill(process.pid, SIGCONT) }
    }

    /// Returns whether every thread of the process has stopped or ended. The state is the first field after
    /// the name, which is in parentheses.
    private static func hasStopped(_ pid: pid_t) -> Bool {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        return tasks.allSatisfy { task in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/task/\(task)/stat") else { return true }
            let fields = String(decoding: data, as: UTF8.self).split(separator: ")").last?.split(separator: " ")
            return ["T", "t", "Z", "X"].contains(fields?.first)
        }
    }

    /// Waits until the server responds. Polls every 50 milliseconds, because another
    /// process does not report its readiness.
    ///
    /// - Throws: ``LocalServerError`` with the end of the log when the server has ended or the limit has passed.
    func waitUntilServing(within limit: Duration = .seconds(60)) async throws {
        let end = ContinuousClock.now + limit
        while await mode() == nil {
            guard let process, Glibc.kill(process.pid, 0) == 0, ContinuousClock.now < end else {
                throw LocalServerError(
                    description: "Server \(id) on port \(port) does not respond. The end of its log:\n\(logTail())")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    func mode() async -> String? {
        guard process != nil, let response = await FourLetterWord.ask("srvr", port: port) else { return nil }
        return response.split(separator: "\n").first { $0.hasPrefix("Mode: ") }.map { String($0.dropFirst(6)) }
    }

    /// Deletes the server's data, but not its id. The server must not run.
    func eraseData() throws {
        guard process == nil else {
            throw LocalServerError(
                description: "The data of server \(id) cannot be deleted while the server runs. Kill it first.")
        }
        try? FileManager.default.removeItem(atPath: dataFolder)
    }

    var dataFolder: String { directory + "/data/version-2" }

    /// Makes every write beyond the given size of a file fail, as on a full disk, until the server is started again.
    func limitFileSize(_ bytes: Int) async throws {
        guard let process else { return }
        let result = try await run(
            .name("prlimit"), arguments: ["--pid", "\(process.pid)", "--fsize=\(bytes)"], output: .discarded)
        guard result.terminationStatus.isSuccess else {
            throw LocalServerError(description: "prlimit could not limit the file size of server \(id).")
        }
    }

    private var logPath: String { directory + "/server.log" }

    /// Returns the end of the server's log.
    func logTail(bytes: Int = 2_000) -> String {
        guard let data = FileManager.default.contents(atPath: logPath) else { return "(no log)" }
        return String(decoding: data.suffix(bytes), as: UTF8.self)
    }
}
