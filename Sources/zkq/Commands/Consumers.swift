import ArgumentParser
import ZooKeeperQueue

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct Consumers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the registered consumers, and what each of them holds since when.",
        discussion: """
            A line for each lease: the consumer, its state (alive or failed), the name of the leased message, and \
            how many seconds ago it was claimed, by this machine's clock. A consumer that holds nothing has "-" in the \
            last two columns.
            """)

    @OptionGroup var options: QueueOptions

    @Flag(help: "Print a line of JSON for each consumer, with times in milliseconds since 1970.")
    var json = false

    private struct Line: Encodable {
        struct Lease: Encodable {
            let name: String
            let claimedAt: Int64
        }
        let consumer: String
        let alive: Bool
        let registeredAt: Int64
        let leases: [Lease]

        init(_ info: ConsumerInfo) {
            (consumer, alive) = (info.name, info.isAlive)
            registeredAt = info.registeredAt.millisecondsSince1970
            leases = info.leases.map { Lease(name: $0.nodeName, claimedAt: $0.claimedAt.millisecondsSince1970) }
        }
    }

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                for consumer in try await queue.consumers() {
                    if json {
                        try StandardOutput.line(try JSON.line(Line(consumer)))
                        continue
                    }
                    let state = consumer.isAlive ? "alive" : "failed"
                    if consumer.leases.isEmpty { try StandardOutput.line("\(consumer.name)\t\(state)\t-\t-") }
                    for lease in consumer.leases {
                        let claimed = Double(lease.claimedAt.millisecondsSince1970) / 1_000
                        let age = Int(max(0, Date().timeIntervalSince1970 - claimed))
                        try StandardOutput.line("\(consumer.name)\t\(state)\t\(lease.nodeName)\t\(age)")
                    }
                }
            }
        }
    }
}
