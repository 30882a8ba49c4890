import ArgumentParser
import ZooKeeperQueue

struct Put: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Store messages, and print the name of each, in order, as it is stored.",
        discussion: "A message that is stored, but whose name was lost with the reply, is printed as \"-\".")

    @OptionGroup var options: QueueOptions

    @Option(parsing: .unconditional, help: "0…999; a lower number is served first.")
    var priority = 100

    @Option(
        name: .customLong("header"),
        help: ArgumentHelp("A header that travels with each message.", valueName: "name=value"))
    var headers: [String] = []

    @Option(
        help: "The message's id: of all that are sent with it, one is stored. A duplicate is printed as \"duplicate\".")
    var id: String?

    @Flag(help: "Store each line of stdin as it comes.")
    var lines = false

    @Flag(help: "When the queue is full, wait until there is room. The default is to fail.")
    var waitWhenFull = false

    @Argument(help: "The messages.")
    var messages: [String] = []

    func validate() throws {
        guard lines == messages.isEmpty else {
            throw ValidationError("Give either messages or --lines.")
        }
        guard id == nil || messages.count == 1 else { throw ValidationError("--id goes with one message.") }
        try check("--priority", priority, from: 0, to: 999)
        if let header = headers.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) {
            throw ValidationError("A header has the form NAME=VALUE, and \"\(header)\" has not.")
        }
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue { queue in
                let producer = QueueProducer(queue, configuration: .init(whenFull: waitWhenFull ? .wait : .fail))
                do {
                    try await store(with: producer)
                    await producer.close()
                } catch {
                    await producer.close()
                    throw error
                }
            }
        }
    }

    private func store(with producer: QueueProducer) async throws {
        guard lines else { return try await store(messages.map { Array($0.utf8) }, with: producer) }
        let reader = LineReader(limit: producer.maximumPayloadSize)
        while let lines = try await reader.next() { try await store(lines, with: producer) }
    }

    private func store(_ payloads: [[UInt8]], with producer: QueueProducer) async throws {
        let headers = Dictionary(
            headers.map { header in
                let parts = header.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), String(parts[1]))
            }, uniquingKeysWith: { $1 })
        let messages = payloads.map { OutgoingMessage($0, priority: priority, headers: headers, id: id) }
        do {
            for receipt in try await producer.send(contentsOf: messages) {
                try StandardOutput.line(receipt.isDuplicate ? "duplicate" : receipt.nodeName ?? "-")
            }
        } catch let error as QueueError where messages.count > 1 && error.code == .payloadTooLarge {
            // One message is too large, so nothing was sent. The messages before it are
            // stored nevertheless, one by one.
            for message in messages { try StandardOutput.line(try await producer.send(message).nodeName ?? "-") }
        }
    }
}
