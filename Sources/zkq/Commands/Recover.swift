import ArgumentParser
import ZooKeeperQueue

struct Recover: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Requeue the messages of failed consumers, until SIGINT, SIGTERM or SIGHUP.")

    @OptionGroup var options: QueueOptions

    @Flag(help: "Run one pass, print its report, and exit.")
    var once = false

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The pause between two passes.", valueName: "seconds"))
    var every: Double = 5

    @Option(
        parsing: .unconditional,
        help: """
            How often a message is delivered before it moves to the dead letters. Changes the queue only if the queue \
            still has the default.
            """
    )
    var maximumDeliveries: Int?

    func validate() throws {
        try check("--every", every, from: 0.001, to: 1_000_000, unit: "seconds")
        try check("--maximum-deliveries", maximumDeliveries, from: 1)
    }

    func run() async throws {
        try await withInterruption(isNormalEnd: !once) { [self] in
            try await options.withQueue { queue in
                try await storeMaximumDeliveries(queue)
                let recovery = QueueRecovery(queue, configuration: .init(interval: .seconds(every)))
                guard once else { return try await recovery.run() }
                let report = try await recovery.recover()
                try StandardOutput.line(
                    "recovered \(report.recovered), redelivered \(report.redelivered), dead-lettered "
                        + "\(report.deadLettered), consumers removed \(report.consumersRemoved)")
            }
        }
    }

    private func storeMaximumDeliveries(_ queue: MessageQueue) async throws {
        guard let maximumDeliveries else { return }
        try await queue.createIfNeeded(.init(maximumDeliveries: maximumDeliveries))
        let stored = try await queue.attributes().maximumDeliveries
        guard stored != maximumDeliveries, stored == QueueAttributes().maximumDeliveries else { return }
        try await queue.update { $0.maximumDeliveries = maximumDeliveries }
    }
}
