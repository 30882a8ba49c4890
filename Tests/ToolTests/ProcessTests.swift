import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper

/// Tests of whole processes: children of a killed process, and a counter of the process.
@Suite(.timeLimit(.minutes(2)))
struct ProcessTests {
    @Test("A killed zkq dev leaves neither servers nor their data behind")
    func killedDev() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "owner-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let contents = { @Sendable in try FileManager.default.contentsOfDirectory(atPath: folder.path()) }
        var address = ""
        _ = try await Tool(address: "", temporaryFolder: folder.path()).started("dev") { pid, lines in
            for try await line in lines {
                address = String(line.dropFirst(6))
                break
            }
            #expect(try contents().count == 1)
            kill(pid, SIGKILL)
        }
        let client = try ZooKeeperClient(configuration: .init(servers: address))
        try await withDeadline("the server to end") {
            // Polls, because no event reports the end of another process's child.
            while (try? await client.exists("/", timeout: .milliseconds(100))) ?? nil != nil {}
        }
        await client.close()
        try await withDeadline("the folder to go") {
            // Polls, because no event reports that another process has deleted a file.
            while try !contents().isEmpty { try await Task.sleep(for: .milliseconds(20)) }
        }
    }

    /// The C client's request number starts at the time in seconds, and the values -8 to -2 would hang or crash it. The
    /// test moves the clock to shortly before them, and some thousand requests then pass them.
    @Test("The client skips the reserved request numbers of the C client")
    func reservedRequestNumbers() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "xid-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (source, library) = (folder.appending(path: "time.c").path(), folder.appending(path: "time.so").path())
        try Data("long time(long *t) { long now = 4294967296L - 5000; if (t) *t = now; return now; }\n".utf8)
            .write(to: URL(filePath: source))
        let compiled = try await run(
            .name("cc"), arguments: ["-shared", "-fPIC", "-w", "-fno-builtin", "-o", library, source],
            output: .discarded, error: .currentStandardError)
        try #require(compiled.terminationStatus.isSuccess)

        let zkq = Tool(address: try await TestServer.address())
        #expect(try await zkq("put", "--lines", input: (1...3_000).map { "\($0)\n" }.joined()).isSuccess)
        // Each message takes a get, and a part of a claim and of an acknowledgement.
        let taken = try await run(
            .path(Tool.path), arguments: ["take", "--wait", "0", "--log-level", "debug"],
            environment: zkq.environment.updating(["LD_PRELOAD": library]), input: .none,
            output: .string(limit: 1 << 20), error: .string(limit: 1 << 16))
        #expect(taken.terminationStatus.isSuccess, "\(taken.standardError)")
        // A client that does not skip the numbers loses its connection, and continues after it has reconnected.
        #expect(!taken.standardError.contains("is lost"), "\(taken.standardError)")
        #expect(taken.standardOutput == (1...3_000).map { "\($0)\n" }.joined())
    }
}
