import ArgumentParser
import Glibc

/// Asks for confirmation before a command destroys messages.
struct Confirmation: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Do not ask for confirmation.")
    var yes = false

    /// Asks a question.
    ///
    /// - Throws: ``ToolError`` when stdin is not a terminal, `ExitCode` when the answer is no.
    func ask(_ question: String) throws {
        if yes { return }
        guard isatty(STDIN_FILENO) == 1 else {
            throw ToolError("This command deletes messages, and stdin is not a terminal. Add --yes to confirm.")
        }
        StandardError.write("\(question) [y/N] ")
        guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
            StandardError.line("Nothing was changed.")
            throw ExitCode.failure
        }
    }
}
