import ArgumentParser
import ZooKeeperQueue

struct Take: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take messages: print each as a line, hold it, acknowledge it.")

    @OptionGroup var options: QueueOptions

    @Option(help: "End after so many messages.")
    var count: Int?

    @Option(
        help: ArgumentHelp(
            "End when none came for so long; 0: as soon as the queue is empty. Default: never.", valueName: "seconds"))
    var wait: Double?

    @Option(help: "Print the payload (text), or name, counts, headers and payload (json).")
    var format = MessageFormat.text

    @Option(help: "The most messages to hold at once.")
    var prefetch = 32

    @Option(help: ArgumentHelp("Hold each message so long before it is acknowledged.", valueName: "seconds"))
    var hold: Double = 0

    func validate() throws {
        guard prefetch >= 1, prefetch <= 10_000 else {
            throw ValidationError("--prefetch is a number from 1 to 10000.")
        }
        guard count ?? 1 >= 1 else { throw ValidationError("--count is at least 1.") }
        guard wait ?? 0 >= 0, wait ?? 0 <= 1e9, hold >= 0, hold <= 1e9 else {
            throw ValidationError("--wait and --hold are numbers of seconds.")
        }
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue { queue in
                let consumer = QueueConsumer(queue, configuration: .init(prefetch: min(prefetch, count ?? prefetch)))
                do {
                    try await take(from: consumer)
                    await consumer.close(gracePeriod: .zero)
                } catch {
                    // Gives back what is held.
                    await consumer.close(gracePeriod: .zero)
                    throw error
                }
            }
        }
    }

    private func take(from consumer: QueueConsumer) async throws {
        var messages = consumer.makeAsyncIterator()
        var taken = 0
        var lost = 0
        while taken < count ?? .max, let message = try await next(&messages) {
            do {
                try StandardOutput.line(format == .json ? MessageLine(message).json() : message.payload)
                // The time that --hold asks for.
                if hold > 0 { try await Task.sleep(for: .seconds(hold)) }
                try await message.acknowledge()
                taken += 1
            } catch let error as QueueError where error.code == .leaseLost || error.code == .outcomeUnknown {
                StandardError.line("zkq: \(message.name) was not acknowledged: \(error.message)")
                lost += 1
            }
        }
        try Task.checkCancellation()
        if lost > 0 { throw ExitCode.failure }
    }

    private func next(_ messages: inout QueueConsumer.Iterator) async throws -> QueueMessage? {
        if let wait { return try await messages.next(within: .seconds(wait)) }
        return try await messages.next()
    }
}
