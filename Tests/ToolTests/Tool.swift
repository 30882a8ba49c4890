import Foundation
import Subprocess
import SystemPackage

/// The built `zkq`, which each command runs as a process.
struct Tool {
    /// The connect string of the commands.
    let address: String
    /// The path of the executable.
    var path = Tool.path
    /// The commands' temporary folder; `nil` means the same as that of this process.
    var temporaryFolder: String?

    /// The result of a command.
    struct Result {
        let status: TerminationStatus
        let output: String
        let error: String

        var lines: [String] { output.split(separator: "\n").map(String.init) }
        var isSuccess: Bool { status.isSuccess }
    }

    /// The path in the environment variable `ZKQ_TOOL`, such as that of a release build. By default, the executable
    /// beside the test bundle.
    static let path =
        ProcessInfo.processInfo.environment["ZKQ_TOOL"].map { FilePath($0) } ?? products.appending("zkq")

    /// The folder of the test bundle, which is this process's executable.
    static let products = FilePath(
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .path(percentEncoded: false))

    /// Runs a command until it exits.
    func callAsFunction(_ arguments: String..., input: String = "") async throws -> Result {
        let result = try await run(
            .path(path), arguments: Arguments(arguments), environment: environment, input: .string(input),
            output: .string(limit: 8 << 20), error: .string(limit: 1 << 20))
        return Result(
            status: result.terminationStatus, output: result.standardOutput, error: result.standardError)
    }

    /// Runs a shell script, in which `$0` is the tool.
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

    /// Starts a command, passes its process ID and its lines of output to `body`, and kills it when `body` returns.
    ///
    /// - Returns: its exit status, and its output on stderr.
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
