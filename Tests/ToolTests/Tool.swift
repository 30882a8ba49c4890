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

    /// Beside the test bundle, which is this process's program.
    static let path = FilePath(
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "zkq").path(percentEncoded: false))

    /// Runs a command to its end.
    func callAsFunction(_ arguments: String..., input: String = "") async throws -> Result {
        let result = try await run(
            .path(path), arguments: Arguments(arguments), environment: environment, input: .string(input),
            output: .string(limit: 8 << 20), error: .string(limit: 1 << 20))
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
            try await body(execution.processIdentifier.value, execution.standardOutput.strings())
            kill(execution.processIdentifier.value, SIGKILL)
        }
        return Result(status: result.terminationStatus, output: "", error: result.standardError)
    }
}
