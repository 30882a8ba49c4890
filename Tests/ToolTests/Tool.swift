import Foundation
import Subprocess
import SystemPackage

/// The built `zkq`, run as a process.
struct Tool {
    /// The connect string that its commands get.
    let address: String
    /// The program.
    var path = Tool.path
    /// Where they put temporary things, if not where this process does.
    var temporaryFolder: String?

    /// What a command left.
    struct Result {
        let status: TerminationStatus
        let output: String
        let error: String

        var lines: [String] { output.split(separator: "\n").map(String.init) }
        var isSuccess: Bool { status.isSuccess }
    }

    /// The environment's `ZKQ_TOOL`, such as that of a release build, or the one beside the test bundle.
    static let path =
        ProcessInfo.processInfo.environment["ZKQ_TOOL"].map { FilePath($0) } ?? products.appending("zkq")

    /// Where the test bundle is, which is this process's program.
    static let products = FilePath(
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .path(percentEncoded: false))

    /// Runs a command to its end.
    func callAsFunction(_ arguments: String..., input: String = "") async throws -> Result {
        let result = try await run(
            .path(path), arguments: Arguments(arguments), environment: environment, input: .string(input),
            output: .string(limit: 8 << 20), error: .string(limit: 1 << 20))
        return Result(
            status: result.terminationStatus, output: result.standardOutput, error: result.standardError)
    }

    /// Runs a script of the shell, in which `$0` is the program.
    func shell(_ script: String) async throws -> Result {
        let result = try await run(
            .path("/bin/sh"), arguments: ["-c", script, path.string], environment: environment, input: .none,
            output: .string(limit: 1 << 16), error: .string(limit: 1 << 16))
        return Result(
            status: result.terminationStatus, output: result.standardOutput, error: result.standardError)
    }

    var environment: Environment {
        let base = Environment.inherit.updating(["ZOOKEEPER_CONNECT": address])
        return temporaryFolder.map { base.updating(["TMPDIR": $0]) } ?? base
    }

    /// Starts a command, gives its process and its lines as they come to `body`, and kills it when `body` returns.
    ///
    /// - Returns: how it ended, and what it wrote on stderr.
    func started(
        _ arguments: String..., body: (pid_t, SubprocessOutputSequence.StringSequence<UTF8>) async throws -> Void
    ) async throws -> Result {
        let result = try await run(
            .path(path), arguments: Arguments(arguments), environment: environment, input: .none,
            output: .sequence, error: .string(limit: 1 << 20)
        ) { execution in
            defer { kill(execution.processIdentifier.value, SIGKILL) }
            try await body(execution.processIdentifier.value, execution.standardOutput.strings())
        }
        return Result(status: result.terminationStatus, output: "", error: result.standardError)
    }
}
