import ArgumentParser
import ZooKeeperQueue

struct Take: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Claim messages, print each one on a line, and acknowledge it.",
        discussion: """
            At SIGINT, SIGTERM or SIGHUP, requeues the messages that it holds, within five seconds. A second signal \
            ends the process at once, and its messages are redelivered when its session has ended and a recovery runs. \
            With --wait, fails when ready messages are left that cannot be claimed.
            """)

    @OptionGroup var options: QueueOptions

    @Option(parsing: .unconditional, help: "Exit after this number of messages.")
    var count: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Exit when no message arrives for this time. 0 exits as soon as the queue is empty. Default: never exit.",
            valueName: "seconds"))
    var wait: Double?

    @Option(help: "Print the payload (text), or name, ID, counts, headers and payload (json).")
    var format = MessageFormat.text

    @Option(parsing: .unconditional, help: "The maximum number of messages to hold at once.")
    var prefetch = 32

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The time to hold each message before it is acknowledged.", valueName: "seconds"))
    var hold: Double = 0

    func validate() throws {
        try check("--prefetch", prefetch, from: 1, to: 10_000)
        try check("--count", count, from: 1)
        try check("--wait", wait, from: 0, to: 1_000_000_000, unit: "seconds")
        try check("--hold", hold, from: 0, to: 1_000_000_000, unit: "seconds")
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue { queue in
                let consumer = QueueConsumer(queue, configuration: .init(prefetch: min(prefetch, count ?? prefetch)))
                do {
                    try await take(from: consumer, of: queue)
                    await consumer.close(gracePeriod: .zero)
                } catch {
                    // Requeues the messages that the consumer holds.
                    await consumer.close(gracePeriod: .zero)
                    throw error
                }
            }
        }
    }

    private func take(from consumer: QueueConsumer, of queue: MessageQueue) async throws {
        var messages = consumer.makeAsyncIterator()
        var taken = 0
        var lost = 0
        while taken < count ?? .max, let message = try await next(&messages, of: queue) {
            do {
                try StandardOutput.line(format == .json ? MessageLine(message).json() : message.payload)
                // The user asked for this delay with --hold.
                if hold > 0 { try await Task.sleep(for: .seconds(hold)) }
                try await message.acknowledge()
                taken += 1
            } catch let error as QueueError where error.code == .leaseLost || error.code == .outcomeUnknown {
                StandardError.line("zkq: Could not acknowledge \(message.nodeName). \(error)")
                lost += 1
            }
        }
        try Task.checkCancellation()
        if lost > 0 { throw ExitCode.failure }
    }

    /// Returns the next message, or `nil` when the wait is over.
    ///
    /// - Throws: ``ToolError`` when messages are still ready, and consuming is paused or no consumer takes one during a
    ///   second wait. While other consumers take messages, they may also take the remaining ones, so this is not an
    ///   error.
    private func next(_ messages: inout QueueConsumer.Iterator, of queue: MessageQueue) async throws -> QueueMessage? {
        guard let wait else { return try await messages.next() }
        if let message = try await messages.next(within: .seconds(wait)) { return message }
        if Task.isCancelled { return nil }
        let before = try await queue.statistics()
        if before.ready == 0 { return nil }
        try checkPause(before)
        let patience = min(max(wait.rounded(.up), 2), 10)
        if let message = try await messages.next(within: .seconds(patience)) { return message }
        if Task.isCancelled { return nil }
        let now = try await queue.statistics()
        if now.ready == 0 { return nil }
        try checkPause(now)
        // A message that was created and is no longer ready was claimed.
        if now.totalEnqueued - now.ready != before.totalEnqueued - before.ready { return nil }
        throw ToolError(
            "Messages are left: \(now.ready) ready, but none could be claimed within \(Int(patience)) seconds. To find "
                + "the reason, run \"zkq doctor\", or use --log-level info.")
    }

    private func checkPause(_ statistics: QueueStatistics) throws {
        guard statistics.paused.contains(.consume) else { return }
        throw ToolError(
            "Messages are left: \(statistics.ready) ready, but consuming is paused. To continue, run \"zkq resume "
                + "--consume\".")
    }
}
