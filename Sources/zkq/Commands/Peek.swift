import ArgumentParser
import ZooKeeperQueue

struct Peek: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the first ready messages, in the order in which they will be handed out, without taking them.")

    @OptionGroup var options: QueueOptions

    @Option(help: "The most messages to print.")
    var count = 10

    @Option(help: "Print the payload (text), or name, counts, headers and payload (json).")
    var format = MessageFormat.text

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(settings: .init(createsQueue: false)) { queue in
                for message in try await queue.browse(limit: max(0, count)) {
                    try StandardOutput.line(format == .json ? MessageLine(message).json() : message.payload)
                }
            }
        }
    }
}
