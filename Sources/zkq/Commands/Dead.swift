import ArgumentParser
import ZooKeeperQueue

struct Dead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, redrive or delete the dead letters.", subcommands: [List.self, Redrive.self, PurgeDead.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print each dead letter on one line: name, cause and payload.")

        @OptionGroup var options: QueueOptions

        @Option(parsing: .unconditional, help: "The maximum number of dead letters to print.")
        var count = 1_000

        @Option(help: "Print columns separated by tabs (text), or JSON (json).")
        var format = MessageFormat.text

        func validate() throws { try check("--count", count, from: 1) }

        func run() async throws {
            try await withInterruption { [self] in
                try await options.withQueue(createIfMissing: false) { queue in
                    for letter in try await queue.deadLetters(limit: count) {
                        let text = Array("\(letter.nodeName)\t\(letter.reason)\t".utf8) + letter.payload
                        try StandardOutput.line(format == .json ? MessageLine(letter).json() : text)
                    }
                }
            }
        }
    }

    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move dead letters back to their old positions in the queue.")

        @OptionGroup var options: QueueOptions

        @Argument(help: "The names of dead letters, as \"dead list\" prints them.")
        var names: [String] = []

        @Flag(help: "Redrive all dead letters.")
        var all = false

        func validate() throws {
            guard all == names.isEmpty else {
                throw ValidationError("Pass either the names of dead letters, or --all.")
            }
        }

        func run() async throws {
            try await withInterruption { [self] in
                try await options.withQueue(createIfMissing: false) { queue in
                    for name in names { try await queue.redrive(name) }
                    let progress = Progress("redrive")
                    let done = all ? try await queue.redriveAll { progress.update($0, of: $1) } : names.count
                    try StandardOutput.line("\(done)")
                }
            }
        }
    }

    struct PurgeDead: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "purge", abstract: "Delete all dead letters, and print their number.")

        @OptionGroup var options: QueueOptions
        @OptionGroup var confirmation: Confirmation

        func run() async throws {
            try confirmation.ask("Delete all dead letters of \(options.queue)?")
            try await withInterruption { [self] in
                try await options.withQueue(createIfMissing: false) { queue in
                    let progress = Progress("purge")
                    try StandardOutput.line("\(try await queue.purgeDeadLetters { progress.update($0, of: $1) })")
                }
            }
        }
    }
}
