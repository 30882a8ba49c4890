import ArgumentParser
import ZooKeeperQueue

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take a lease from the consumer that holds it. A recovery then redelivers the messages.",
        discussion: "The handler of the message can still run while another consumer handles the message.")

    @OptionGroup var options: QueueOptions

    @Argument(help: ArgumentHelp("The name of the leased node, as \"consumers\" prints it.", valueName: "node-name"))
    var nodeName: String

    func run() async throws {
        try await withInterruption { [self] in
            try await options.withQueue(createIfMissing: false) { queue in
                try await queue.releaseLease(ofNode: nodeName)
                try StandardOutput.line("The lease of \(nodeName) is released. A recovery redelivers its messages.")
            }
        }
    }
}
