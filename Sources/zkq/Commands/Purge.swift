import ArgumentParser
import ZooKeeperQueue

struct Purge: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete all ready messages, and print their number. Leased messages and dead letters stay.")

    @OptionGroup var options: QueueOptions
    @OptionGroup var confirmation: Confirmation

    func run() async throws {
        try confirmation.ask("Delete all ready messages of \(options.queue)?")
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                let progress = Progress("purge")
                try StandardOutput.line("\(try await queue.purge { progress.update($0, of: $1) })")
            }
        }
    }
}
