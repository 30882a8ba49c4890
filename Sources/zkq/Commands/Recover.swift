import ArgumentParser
import ZooKeeperQueue

struct Recover: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give the messages of failed consumers back to the queue, until SIGINT or SIGTERM.")

    @OptionGroup var options: QueueOptions

    @Flag(help: "Look through the queue once, print what was done, and end.")
    var once = false

    @Option(help: ArgumentHelp("How long to rest between two looks.", valueName: "seconds"))
    var every: Double = 5

    @Option(help: "How often a message is delivered before it goes to the dead letters.")
    var maximumDeliveries = 10

    func validate() throws {
        guard every > 0, every <= 1e6 else { throw ValidationError("--every is a positive number of seconds.") }
        guard maximumDeliveries >= 1 else { throw ValidationError("--maximum-deliveries is at least 1.") }
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
