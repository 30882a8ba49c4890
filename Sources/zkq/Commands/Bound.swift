import ArgumentParser
import ZooKeeperQueue

struct Bound: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print how much may stand in a queue before producers are refused, or change it.")

    @OptionGroup var options: QueueOptions

    @Option(parsing: .unconditional, help: "The most messages that are ready.")
    var messages: Int?

    @Option(parsing: .unconditional, help: "The most bytes of all that the queue keeps, dead letters included.")
    var bytes: Int?

    @Flag(help: "Take the bound away.")
    var none = false

    func validate() throws {
        if none, messages != nil || bytes != nil { throw ValidationError("Give either --none or a bound.") }
        try check("--messages", messages, from: 1)
        try check("--bytes", bytes, from: 1)
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(settings: .init(createsQueue: false)) { queue in
                var bound = none ? .init() : try await queue.bound()
                if none || messages != nil || bytes != nil {
                    bound = .init(messages: messages ?? bound.messages, bytes: bytes ?? bound.bytes)
                    try await queue.setBound(bound)
                }
                try StandardOutput.line("messages   \(bound.messages.map { "\($0)" } ?? "-")")
                try StandardOutput.line("bytes      \(bound.bytes.map { "\($0)" } ?? "-")")
            }
        }
    }
}
