import ArgumentParser
import ZooKeeperQueue

struct Capacity: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Print or change the queue's capacity. When it is reached, sends fail or wait.",
        aliases: ["bound"])

    @OptionGroup var options: QueueOptions

    @Option(parsing: .unconditional, help: "The maximum number of ready messages.")
    var messages: Int?

    @Option(
        parsing: .unconditional,
        help: "The maximum number of bytes in the queue, including leased messages and dead letters.")
    var bytes: Int?

    @Flag(help: "Remove the capacity.")
    var none = false

    func validate() throws {
        if none, messages != nil || bytes != nil {
            throw ValidationError("--none cannot be combined with --messages or --bytes.")
        }
        try check("--messages", messages, from: 1)
        try check("--bytes", bytes, from: 1)
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                var capacity = none ? .init() : try await queue.attributes().capacity
                if none || messages != nil || bytes != nil {
                    capacity = .init(messages: messages ?? capacity.messages, bytes: bytes ?? capacity.bytes)
                    try await queue.update { $0.capacity = capacity }
                }
                try StandardOutput.line("messages   \(capacity.messages.map { "\($0)" } ?? "-")")
                try StandardOutput.line("bytes      \(capacity.bytes.map { "\($0)" } ?? "-")")
            }
        }
    }
}
