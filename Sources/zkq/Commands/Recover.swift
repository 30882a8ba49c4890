import ArgumentParser
import ZooKeeperQueue

struct Recover: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give the messages of failed consumers back to the queue, until SIGINT, SIGTERM or SIGHUP.")

    @OptionGroup var options: QueueOptions

    @Flag(help: "Look through the queue once, print what was done, and end.")
    var once = false

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long to rest between two looks.", valueName: "seconds"))
    var every: Double = 5

    @Option(
        parsing: .unconditional,
        help: "How often a message is delivered before it goes to the dead letters, unless the queue's settings say it."
    )
    var maximumDeliveries = 10

    func validate() throws {
        try check("--every", every, from: 0.001, to: 1_000_000, unit: "seconds")
        try check("--maximum-deliveries", maximumDeliveries, from: 1)
    }

    func run() async throws {
        try await withInterruption(isNormalEnd: !once) { [self] in
            try await options.withQueue(settings: .init(maximumDeliveries: maximumDeliveries)) { queue in
                let recovery = QueueRecovery(queue, every: .seconds(every))
                guard once else { return try await recovery.run() }
                let report = try await recovery.recover()
                try StandardOutput.line(
                    "recovered \(report.recovered), redelivered \(report.redelivered), dead-lettered "
                        + "\(report.deadLettered), consumers removed \(report.consumersRemoved)")
            }
        }
    }
}
