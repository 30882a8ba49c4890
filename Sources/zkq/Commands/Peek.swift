import ArgumentParser
import ZooKeeperQueue

struct Peek: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the first ready messages in delivery order, without claiming them.")

    @OptionGroup var options: QueueOptions

    @Option(parsing: .unconditional, help: "The maximum number of messages to print.")
    var count = 10

    @Option(help: "Print the payload (text), or name, ID, counts, headers and payload (json).")
    var format = MessageFormat.text

    func validate() throws { try check("--count", count, from: 1) }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                for message in try await queue.peek(limit: count) {
                    try StandardOutput.line(format == .json ? MessageLine(message).json() : message.payload)
                }
            }
        }
    }
}
